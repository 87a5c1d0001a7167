"""Whether a killed run left what the untouched one did: weights, metrics, samples, data and answers, bit for bit."""

import json
from pathlib import Path
from typing import Any

from training.identity import file_sha256
from training.plan import RunPlan
from training.record import read_record, verify_record

BY_THE_CLOCK = ("timing_s", "perf/", "rank/", "step_time", "time", "scored_per_s")
"""Metrics that differ between any two runs."""
LINES = ("metrics.jsonl", "samples.jsonl", "data.jsonl", "draws.jsonl", "pass_rates.jsonl", "items.jsonl")
LEFT_OVER = ("checkpoints", "finished_prompts", "finished_answers", "merged_parent", "rows_cache")


def differences(ours: RunPlan, theirs: RunPlan) -> list[str]:
    """Return what differs between two finished runs of one pipeline, in words; [] for the same models and files."""
    found = []
    for stage in ours.stages:
        other = theirs[stage.name]
        if stage.fingerprint != other.fingerprint:
            found.append(f"{stage.name}: another fingerprint")
        found += [f"{stage.name}: {problem}" for problem in verify_record(stage.folder)]
        found += [f"{stage.name}: {name} is left over" for name in LEFT_OVER if (stage.folder / name).exists()]
        found += [f"{stage.name}: {name} differs" for name in differing(stage.folder, other.folder)]
    return found


def differing(folder: Path, other: Path) -> list[str]:
    """Names of the parts of two stage folders that differ."""
    parts = [name for name in LINES if learned(folder / name) != learned(other / name)]
    if weights(folder) != weights(other):
        parts.append("model/")
    ours, theirs = read_record(folder) or {}, read_record(other) or {}
    for key in ("data", "rewards", "kept_probe", "interventions", "template_sha256"):
        if ours.get(key) != theirs.get(key):
            parts.append(f"record.{key}")
    if untimed(ours.get("metrics", {})) != untimed(theirs.get("metrics", {})):
        parts.append("record.metrics")
    return parts


def weights(folder: Path) -> dict[str, str]:
    """sha256 of each file of weights."""
    model = folder / "model"
    return {str(path.relative_to(model)): file_sha256(path) for path in sorted(model.rglob("*.safetensors"))}


def learned(path: Path) -> list[Any] | None:
    """The lines of a file without what a clock measured; None where there is no file."""
    if not path.is_file():
        return None
    return [untimed(json.loads(line)) for line in path.read_text(encoding="utf-8").split("\n") if line]


def untimed(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what a clock measured."""
    return {name: value for name, value in row.items() if not name.startswith(BY_THE_CLOCK)}


def untrained(plan: RunPlan) -> list[str]:
    """Names of the training stages that left their parent's weights as they were: comparing those would say nothing."""
    trained = [stage for stage in plan.stages if stage.kind in ("sft", "dpo", "grpo")]
    return [one.name for one in trained if weights(one.folder) == weights(plan[one.parents[0]].folder)]
