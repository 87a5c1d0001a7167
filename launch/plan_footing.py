"""What the figures of `posttrain plan` stand on: rates, lengths, ledgers, watts and price."""

from collections.abc import Iterator

from launch.plan_money import Money
from training.emulated_bf16 import emulated_words, emulates_bf16
from training.estimate.estimate import RESERVE, Estimate, StageEstimate


def footing(found: Estimate, money: Money) -> Iterator[str]:
    """Yield the lines under the tables."""
    fast, likely, slow = (found.rates[name] for name in ("fast", "likely", "slow"))
    shares = f"{likely.bandwidth_share:g} ({slow.bandwidth_share:g} - {fast.bandwidth_share:g})"
    launches = f"{likely.launch_s * 1e3:g} ms ({fast.launch_s * 1e3:g} - {slow.launch_s * 1e3:g})"
    yield "These figures stand on:"
    yield (
        "- FLOPs: 2 a weight and token forward, 4 backward, 2 more to recompute, and attention; "
        f"MFU {likely.mfu:g} ({slow.mfu:g} - {fast.mfu:g})"
    )
    yield f"- decoding: weights and cache read at {shares} of the bandwidth, {launches} to launch a layer"
    alike: dict[str, list[str]] = {}
    for stage in found.stages:
        if stage.time is not None:
            alike.setdefault("; ".join(_of_stage(stage)), []).append(stage.name)
    yield from (f"- {', '.join(names)}: {text}" for text, names in alike.items())
    if found.device is not None and found.device.kind == "cpu" and emulates_bf16():
        yield from _emulated(found)
    if not found.measured:
        yield "- no ledger of this model on this device was found: the first finished run will calibrate the next plan"
    yield f"- {RESERVE:.0%} of the memory stays free"
    yield from _of_money(money)


def _emulated(found: Estimate) -> Iterator[str]:
    """Name the stages in bf16, those that train apart from those that draw: each has a key of its own."""
    works = [(each.name, each.job.workload) for each in found.stages if each.time is not None and each.job is not None]
    for trains in (True, False):
        names = [name for name, work in works if work.compute_dtype == "bfloat16" and work.trains is trains]
        if names:
            yield f"- {', '.join(names)}: {emulated_words(trains)}"


def _of_stage(stage: StageEstimate) -> Iterator[str]:
    assert stage.time is not None
    assert stage.job is not None
    lengths, work, source = stage.time.lengths, stage.job.workload, stage.time.lengths_from
    if work.kind in ("pretrain", "sft", "dpo", "reward_model"):
        yield f"{lengths.row:.0f} of at most {work.sequence_length} tokens a row ({source})"
    else:
        of = f"{lengths.completion:.0f} of at most {work.completion_length}"
        yield f"prompts of {lengths.prompt:.0f} tokens, completions of {of} ({source})"
    if stage.time.generation_tokens_per_s is not None:
        yield f"{stage.time.generation_tokens_per_s:,.0f} tokens/s drawn by a rank"
    calibration = stage.time.calibration
    for phase, source in calibration.sources.items():
        if stage.time.phases.get(phase):
            yield f"{phase} x {calibration.factors[phase]:.2f} as measured in {source}"


def _of_money(money: Money) -> Iterator[str]:
    if money.watts is None:
        yield "- energy: give --watts, those of a rank's share of the machine"
    else:
        yield f"- energy: {money.watts:g} W a rank ({money.watts_from}), without host, network and cooling"
    if money.price is None:
        yield "- cost: give --price-per-gpu-hour"
    else:
        yield f"- cost: {money.price:g} a GPU-hour, as given"
