"""`posttrain plan`: the stages, what a step is, whether it fits, how long it takes; writes nothing and needs no GPU."""

import json
import math
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from launch.plan_estimate import estimate_text
from launch.plan_json import plan_json
from launch.plan_machine import Machine, machine, rank_overrides
from launch.plan_money import Money
from launch.plan_text import plan_text
from launch.running import with_running_stages
from training.config import load_pipeline
from training.estimate.estimate import Estimate, estimate
from training.estimate.hardware import GB
from training.estimate.remedies import smallest_change
from training.plan import plan_run
from training.run_folder import RunFolder, run_path

DOES_NOT_FIT = 2
NO_TERMINAL = 120
"""Columns of what is piped or written to a file; COLUMNS says otherwise."""


@dataclass(frozen=True)
class PlanRequest:
    """What the user asked for; None leaves a choice to the config, the machine or the table of GPUs."""

    config_path: Path
    overrides: list[str] = field(default_factory=list)
    run_dir: Path | None = None
    gpu: str | None = None
    gpus: int | None = None
    nodes: int | None = None
    gpus_per_node: int | None = None
    fill: float | None = None
    watts: float | None = None
    price: float | None = None
    as_json: bool = False


def plan(request: PlanRequest) -> int:
    """Print the plan; returns 0, or 2 where a stage does not fit on the device."""
    _check_numbers(request)
    ranks = rank_overrides(request.gpus, request.nodes, request.gpus_per_node)
    pipeline = load_pipeline(request.config_path, [*request.overrides, *ranks])
    folder = RunFolder(run_path(pipeline, request.run_dir))
    folder.check(pipeline.name)
    run_plan = with_running_stages(plan_run(pipeline, folder.path))
    chosen = machine(pipeline.runtime, request.gpu, bool(ranks))
    found = estimate(pipeline, run_plan, chosen.device, request.fill)
    money = _money(request, chosen)
    change = _change(found, chosen) if found.too_big else None
    if request.as_json:
        print(json.dumps(plan_json(pipeline, run_plan, found, chosen, money, change), indent=2, ensure_ascii=False))
    else:
        width = shutil.get_terminal_size(fallback=(NO_TERMINAL, 24)).columns
        print(f"{plan_text(pipeline, run_plan)}\n\n{estimate_text(found, money, width)}")
    if not found.too_big:
        return 0
    print(f"posttrain: {verdict(found, chosen, change)}", file=sys.stderr, flush=True)
    return DOES_NOT_FIT


def _check_numbers(request: PlanRequest) -> None:
    if request.fill is not None and not 0 < request.fill <= 1:
        raise UserError(f"--fill {request.fill:g}: a share of the limits, above 0 and at most 1")
    if request.watts is not None and not 0 < request.watts < math.inf:
        raise UserError(f"--watts {request.watts:g}: must be a number above 0, those of a rank's share of the machine")
    if request.price is not None and not 0 <= request.price < math.inf:
        raise UserError(f"--price-per-gpu-hour {request.price:g}: must be a number from 0 up")


def _money(request: PlanRequest, chosen: Machine) -> Money:
    if request.watts is not None:
        return Money(request.watts, request.price, "as given")
    return Money(None if chosen.device is None else chosen.device.watts, request.price, "the board's limit")


def _change(found: Estimate, chosen: Machine) -> str | None:
    assert chosen.device is not None
    jobs = [(stage.shape, stage.job) for stage in found.to_do if stage.shape is not None and stage.job is not None]
    change = smallest_change(jobs, chosen.device)
    return None if change is None else change.words()


def verdict(found: Estimate, chosen: Machine, change: str | None) -> str:
    """Say which stage needs what, and the smallest change that fits."""
    worst = max(found.too_big, key=lambda stage: stage.memory.peak if stage.memory else 0.0)
    assert worst.memory is not None
    assert chosen.device is not None
    needed, device = worst.memory, chosen.device
    fix = f"smallest change that fits: {change}" if change else "nothing that plan tries makes it fit"
    return (
        f"stages.{worst.name} does not fit: a rank needs {needed.peak / GB:.1f} GB ({needed.peak_phase.name}), "
        f"{device.name} has {device.memory / GB:.1f} GB a rank; {fix}"
    )
