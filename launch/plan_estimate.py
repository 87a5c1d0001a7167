"""The estimate of `posttrain plan` in words: memory by phase, time, energy and money, and what all of it stands on."""

from launch.plan_footing import footing
from launch.plan_memory import memory_text
from launch.plan_money import Money
from launch.plan_time import time_text
from launch.words import counted
from training.estimate.estimate import Estimate, StageEstimate, gpus_that_fit
from training.estimate.hardware import GB, GPUS


def estimate_text(found: Estimate, money: Money, width: int) -> str:
    """Return the paragraphs after the batch algebra, tables at most `width` columns wide where that can be."""
    if found.shape is None or found.parameters is None:
        return f"memory and time are not estimated: {found.why_not}"
    parameters = found.parameters
    active = "" if parameters.active == parameters.total else f", {counted(parameters.active)} active a token"
    lines = [f"model: {found.model}, {found.shape.model_type}, {counted(parameters.total)} parameters{active}"]
    lines += [_device(found), "", "Peak memory of a rank, GB (1e9 bytes); * decides", ""]
    lines.append(memory_text(found.stages, width))
    lines += [f"{stage.name} is not estimated: {stage.why_not}" for stage in found.stages if stage.why_not]
    if found.device is None:
        return "\n".join([*lines, "", _where_it_fits(found.stages)])
    lines += ["", "Time, likely (from - to)", "", time_text(found, money, width), "", *footing(found, money)]
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
