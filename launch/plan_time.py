"""The time of `posttrain plan` in words: a row a stage, their sum with its ranges beneath, as wide as the terminal."""

import textwrap

from launch.plan_memory import shared_name
from launch.plan_money import Money
from launch.words import table
from training.estimate.estimate import Estimate, Range, StageEstimate
from training.progress import duration

UNITS = (("d", 86400), ("h", 3600), ("min", 60))


def time_text(found: Estimate, money: Money, width: int) -> str:
    """A row a stage: an update, a round, all of it with their ranges, GPU-hours, energy and cost; the sum last.

    The range of hours, energy and cost is that of the time; the sum has it, and names what is not in it because nobody
    knows its time. Rounds are left out where each is one update. Where the table is wider than `width`, ranges stand
    under their likely values, and where that is too wide as well, the sum alone tells energy and cost.
    """
    unit = "GPU-hours" if found.device is not None and found.device.kind == "gpu" else "rank-hours"
    rounds = any(_updates_per_round(stage) > 1 for stage in found.stages)
    header = ["stage", "one update", *(["one round"] if rounds else []), "all of it", unit, *money.heads]
    rows = [_row(stage, found.ranks, money, rounds) for stage in found.stages]
    broken = [line for row in rows for line in _two_lines(row)]
    last = len(header) - len(money.heads)
    layouts = [table(header, rows), table(header, broken), table(header[:last], [row[:last] for row in broken])]
    whole = found.known_s
    summed = whole is not None and len(rows) > 1
    layouts = layouts if summed else layouts[:2]  # nothing else would tell energy and cost
    shown = next((one for one in layouts if max(map(len, one.splitlines())) <= width), layouts[-1])
    if whole is None or not summed:
        return shown
    text = _sum(found, whole, unit, money)
    return "\n".join([shown, "", *textwrap.wrap(text, width, subsequent_indent="  ")])


def _sum(found: Estimate, known: Range, unit: str, money: Money) -> str:
    missing = [shared_name(found.not_known)] if found.not_known else []
    if found.known_in_part:
        missing.append(f"the benchmarks of {shared_name(found.known_in_part)}")
    hours = known.times(found.ranks / 3600)
    sums = zip([unit, *money.heads], [hours, *money.of(hours)], strict=True)
    parts = [f"to do{', at least' if missing else ''}: {spell(known)}"]
    parts += [f"{head} {numbers(one)}" for head, one in sums]
    return "; ".join([*parts, f"the time of {' and '.join(missing)} is not known"] if missing else parts)


def _updates_per_round(stage: StageEstimate) -> int:
    sizes = stage.job.algebra if stage.job else None
    return sizes.updates_per_round if sizes is not None and sizes.round_size else 0


def _row(stage: StageEstimate, ranks: int, money: Money, rounds: bool) -> list[str]:
    blank = ["-"] * (1 + len(money.heads))
    before = ["-"] * (2 if rounds else 1)
    if stage.spent_s is not None:
        return [stage.name, *before, f"done in {duration(stage.spent_s)}", *blank]
    if stage.time is None:
        return [stage.name, *before, "-", *blank]
    update, whole, updates = stage.time.update_s, stage.time.total_s, _updates_per_round(stage)
    if update is not None:
        before = [spell(update), *([spell(update.times(updates)) if updates else "-"] if rounds else [])]
    if whole is None:
        return [stage.name, *before, "not known (the rows)" if update is not None else "not known", *blank]
    hours = whole.times(ranks / 3600)
    return [stage.name, *before, spell(whole), *(figure(one.likely) for one in (hours, *money.of(hours)))]


def _two_lines(row: list[str]) -> list[list[str]]:
    """A row with its ranges on a second line, where it has any."""
    cells = [cell.partition(" (") for cell in row]
    lines = [[cell[0] for cell in cells], [f"({cell[2]}" if cell[1] else "" for cell in cells]]
    return lines if any(lines[1]) else lines[:1]


def spell(seconds: Range) -> str:
    """For example "68.5 s (40.1 - 102)" or "3.1 h (2.0 - 5.2)": one unit, that of the likely value."""
    unit, divisor = next((one for one in UNITS if seconds.likely >= 3 * one[1]), ("s", 1))
    low, likely, high = (figure(one / divisor) for one in (seconds.low, seconds.likely, seconds.high))
    return f"{likely} {unit} ({low} - {high})"


def numbers(span: Range) -> str:
    """For example "3.82 (0.851 - 15.4)"."""
    return f"{figure(span.likely)} ({figure(span.low)} - {figure(span.high)})"


def figure(value: float) -> str:
    """Three digits, or a whole number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
