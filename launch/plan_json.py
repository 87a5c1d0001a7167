"""`posttrain plan --json`: every figure of the plan for other programs, in bytes, seconds and FLOP/s.

Ranges are mappings of low, likely and high. Keys are only ever added.
"""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from launch.plan_machine import Machine
from launch.plan_money import Money
from training.config import Pipeline
from training.estimate.estimate import Estimate, Range, StageEstimate
from training.plan import RunPlan


def plan_json(
    pipeline: Pipeline, plan: RunPlan, found: Estimate, machine: Machine, money: Money, change: str | None
) -> dict[str, Any]:
    """Return the plan as JSON values; `change` is the smallest one that makes it fit, where it does not."""
    whole, known = found.total_s, found.known_s
    estimates = {stage.name: stage for stage in found.stages}
    return {
        "name": pipeline.name,
        "run_dir": str(plan.run_dir),
        "model": {
            "name": found.model,
            "shape": None if found.shape is None else asdict(found.shape),
            "parameters": None if found.parameters is None else asdict(found.parameters),
            "why_not": found.why_not,
        },
        "machine": {
            "ranks": found.ranks,
            "nodes": pipeline.runtime.nodes,
            "device": None if machine.device is None else asdict(machine.device),
            "why": machine.why,
            "rates": {name: asdict(rates) for name, rates in found.rates.items()},
        },
        "fits": None if machine.device is None or found.shape is None else not found.too_big,
        "smallest_change": change,
        "total": None if whole is None else _cost(whole, found.ranks, money),
        "total_at_least": None if known is None else _cost(known, found.ranks, money),
        "not_in_total": [*found.not_known, *found.known_in_part],
        "watts": money.watts,
        "price_per_gpu_hour": money.price,
        "stages": [
            {
                "index": stage.index,
                "name": stage.name,
                "kind": stage.kind,
                "parents": stage.parents,
                "fingerprint": stage.fingerprint,
                "state": stage.state,
                "reason": stage.reason,
                **(_stage(estimates[stage.name], found.ranks, money) if stage.name in estimates else {}),
            }
            for stage in plan.stages
        ],
    }


def _stage(stage: StageEstimate, ranks: int, money: Money) -> dict[str, Any]:
    sizes = stage.job.algebra if stage.job else None
    algebra = None
    if sizes is not None:
        algebra = asdict(sizes) | {"accumulation": sizes.accumulation, "prompts": sizes.prompts, "rounds": sizes.rounds}
    return {
        "why_not": stage.why_not,
        "batch": algebra,
        "workload": None if stage.job is None else asdict(stage.job.workload),
        "memory": None if stage.memory is None else _memory(stage),
        "fits": stage.fits,
        "spent_s": stage.spent_s,
        "time": None if stage.time is None else _time(stage, ranks, money),
    }


def _memory(stage: StageEstimate) -> dict[str, Any]:
    assert stage.memory is not None
    phases = {
        phase.name: {"parts": dict(phase.parts), "total": phase.total, "host": phase.host}
        for phase in stage.memory.phases
    }
    needed = stage.memory
    return {"phases": phases, "peak": needed.peak, "peak_phase": needed.peak_phase.name, "host_peak": needed.host_peak}


def _time(stage: StageEstimate, ranks: int, money: Money) -> dict[str, Any]:
    assert stage.time is not None
    time, sizes = stage.time, stage.job.algebra if stage.job else None
    a_round = None
    if time.update_s is not None and sizes is not None and sizes.round_size:
        a_round = asdict(time.update_s.times(sizes.updates_per_round))
    calibration: Mapping[str, Any] = {
        phase: {"factor": time.calibration.factors[phase], "source": source}
        for phase, source in time.calibration.sources.items()
    }
    return {
        "update_s": None if time.update_s is None else asdict(time.update_s),
        "round_s": a_round,
        "phases_s": time.phases,
        "lengths": asdict(time.lengths) | {"from": time.lengths_from},
        "generation_tokens_per_s": time.generation_tokens_per_s,
        "calibration": calibration,
        "total": None if time.total_s is None else _cost(time.total_s, ranks, money),
    }


def _cost(seconds: Range, ranks: int, money: Money) -> dict[str, Any]:
    hours = seconds.times(ranks / 3600)
    energy, cost = money.energy_kwh(hours), money.cost(hours)
    return {
        "seconds": asdict(seconds),
        "gpu_hours": asdict(hours),
        "energy_kwh": None if energy is None else asdict(energy),
        "cost": None if cost is None else asdict(cost),
    }
