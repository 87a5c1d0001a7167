"""The estimate of `posttrain plan` in words: memory by phase, time, energy and money, and what all of it stands on."""

from launch.plan_footing import footing
from launch.plan_money import Money
from launch.words import counted, table
from training.estimate.estimate import Estimate, Range, StageEstimate, gpus_that_fit
from training.estimate.hardware import GB, GPUS
from training.estimate.memory import PARTS, Memory
from training.progress import duration

UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def estimate_text(found: Estimate, money: Money) -> str:
    """Return the paragraphs after the batch algebra."""
    if found.shape is None or found.parameters is None:
        return f"memory and time are not estimated: {found.why_not}"
    parameters = found.parameters
    active = "" if parameters.active == parameters.total else f", {counted(parameters.active)} active a token"
    lines = [f"model: {found.model}, {found.shape.model_type}, {counted(parameters.total)} parameters{active}"]
    lines += [_device(found), "", "Peak memory of a rank, GB (1e9 bytes); * decides", ""]
    lines.append(memory_table(found.stages))
    lines += [f"{stage.name} is not estimated: {stage.why_not}" for stage in found.stages if stage.why_not]
    if found.device is None:
        return "\n".join([*lines, "", _where_it_fits(found.stages)])
    lines += ["", "Time, likely (from - to)", "", time_table(found, money), "", *footing(found, money)]
    return "\n".join(lines)


def _device(found: Estimate) -> str:
    device = found.device
    if device is None:
        return f"ranks: {found.ranks}, on a kind of GPU nobody named: give --gpu for the verdict and the time"
    rates = f"{device.flops16 / 1e12:,.4g} TFLOP/s, {device.bandwidth / GB:,.4g} GB/s"
    return f"ranks: {found.ranks} x {device.name}; each {device.memory / GB:.4g} GB, {rates} ({device.source})"


def _where_it_fits(stages: list[StageEstimate]) -> str:
    names = gpus_that_fit(stages, list(GPUS.values()))
    return f"fits on: {', '.join(names)}" if names else f"fits on none of the {len(GPUS)} GPUs we know"


def memory_table(stages: list[StageEstimate]) -> str:
    """One row per stage and phase; stages with equal figures share theirs."""
    alike: dict[str, tuple[Memory, list[str]]] = {}
    for stage in stages:
        if stage.memory is not None:
            alike.setdefault(f"{stage.kind} {stage.memory}", (stage.memory, []))[1].append(stage.name)
    phases = [phase for needed, _ in alike.values() for phase in needed.phases]
    parts = [part for part in PARTS if any(part in phase.parts for phase in phases)]
    host = any(phase.host for phase in phases)
    header = ["stage", "phase", *parts, "total", *(["host"] if host else [])]
    rows = []
    for needed, names in alike.values():
        for phase in needed.phases:
            cells = [_gigabytes(phase.parts.get(part, 0.0)) for part in parts]
            total = f"{phase.total / GB:.2f}{'*' if phase is needed.peak_phase else ''}"
            name = shared_name(names) if phase is needed.phases[0] else ""
            rows.append([name, phase.name, *cells, total, *([_gigabytes(phase.host)] if host else [])])
    return table(header, rows)


def shared_name(names: list[str]) -> str:
    """ "evaluate-base, -sft, -dpo" for stages whose names begin alike."""
    first, *others = names
    prefix = first.partition("-")[0] + "-"
    return ", ".join([first, *(name.removeprefix(prefix[:-1]) if name.startswith(prefix) else name for name in others)])


def _gigabytes(num_bytes: float) -> str:
    return f"{num_bytes / GB:.2f}" if num_bytes else "-"


def time_table(found: Estimate, money: Money) -> str:
    """One row per stage: an update, a round, all of it, GPU-hours, energy and cost; the sum last."""
    unit = "GPU-hours" if found.device is not None and found.device.kind == "gpu" else "rank-hours"
    header = ["stage", "one update", "one round", "all of it", unit, *money.heads]
    rows = [_time_row(stage, found.ranks, money) for stage in found.stages]
    whole = found.total_s
    if whole is not None and len(rows) > 1:
        rows.append(["to do", "", "", spell(whole), *_costs(whole, found.ranks, money)])
    return table(header, rows)


def _time_row(stage: StageEstimate, ranks: int, money: Money) -> list[str]:
    blank = ["-"] * len(money.heads)
    if stage.spent_s is not None:
        return [stage.name, "", "", f"done in {duration(stage.spent_s)}", "-", *blank]
    if stage.time is None:
        return [stage.name, "-", "-", "-", "-", *blank]
    update, whole, sizes = stage.time.update_s, stage.time.total_s, stage.job.algebra if stage.job else None
    a_round = (
        "-" if update is None or sizes is None or not sizes.round_size else spell(update.times(sizes.updates_per_round))
    )
    cells = [stage.name, "-" if update is None else spell(update), a_round]
    if whole is None:
        return [*cells, "the number of rows is not known yet", "-", *blank]
    return [*cells, spell(whole), *_costs(whole, ranks, money)]


def _costs(whole: Range, ranks: int, money: Money) -> list[str]:
    return [_numbers(whole.times(ranks / 3600)), *(_numbers(one) for one in money.of(whole.times(ranks / 3600)))]


def spell(seconds: Range) -> str:
    """For example "68.5 s (40.1 - 102 s)" or "3.1 h (2.0 - 5.2 h)": one unit, that of the likely value."""
    unit, divisor = next((one for one in UNITS if seconds.likely >= 3 * one[1]), ("s", 1))
    low, likely, high = (_figure(one / divisor) for one in (seconds.low, seconds.likely, seconds.high))
    return f"{likely} {unit} ({low} - {high})"


def _numbers(span: Range) -> str:
    return f"{_figure(span.likely)} ({_figure(span.low)} - {_figure(span.high)})"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
