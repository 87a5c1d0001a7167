"""What earlier runs measured: by how much each phase differs from the model, and how long rows really are.

A finished stage's record and metrics.jsonl are compared with what `step_time` says of the same work at the likely
rates; the quotient corrects the estimate of a like stage. Used are runs of the same model shape on the same device, in
this run folder or beside it: for a stage, the newest of its own kind, else the newest of another kind that has the
phase. The first step, which warms up, is left out where there are more.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from pydantic import TypeAdapter, ValidationError

from data.errors import UserError
from training.config import SURGERY_KINDS, Runtime, Stage
from training.estimate.batch_algebra import sizes_of
from training.estimate.hardware import Device, gpu_of_driver_name, this_cpu
from training.estimate.known_models import find_config
from training.estimate.shape import Shape, shape_of
from training.estimate.step_time import Lengths, Rates, rates_of, stage_decode_seconds, update_seconds
from training.estimate.workloads import CannotEstimate, Job, decoding_job, training_job
from training.record import read_record
from training.run_folder import RunFolder

NEWEST_RUNS = 30
"""Run folders looked into, newest first: `plan` answers in about a second."""
LEDGER_PHASES = {
    "forward_backward": ("forward_backward",),
    "logprobs": ("old_logprobs", "ref_logprobs"),
    "optimizer": ("optimizer",),
    "generate": ("generate",),
}
OTHER = ("data", "reward", "weight_sync", "checkpoint", "log", "unaccounted")


@dataclass(frozen=True)
class Measured:
    """One finished stage: measured over modelled seconds by phase, and seconds a sample of what is not modelled.

    `lengths` are its mean tokens; `data` is the identity of its rows, `limits` the row and completion limits they had.
    """

    source: str
    kind: str
    data: Any
    lengths: Lengths
    limits: tuple[int, int]
    factors: dict[str, float]
    other_s: float
    finished_at: str


@dataclass(frozen=True)
class Calibration:
    """What the measured stages say about one stage; empty where there are none.

    `sources` names the stage by phase; `akin` are the phases whose source is of the same kind.
    """

    factors: dict[str, float] = field(default_factory=dict)
    other_s: float = 0.0
    sources: dict[str, str] = field(default_factory=dict)
    akin: frozenset[str] = frozenset()


def calibration_for(kind: str, measured: list[Measured]) -> Calibration:
    """Choose, phase by phase, the newest measurement of the same kind, else of any other."""
    ordered = sorted(measured, key=lambda one: (one.kind == kind, one.finished_at), reverse=True)
    factors: dict[str, float] = {}
    sources: dict[str, str] = {}
    for one in ordered:
        for phase, factor in one.factors.items():
            if phase not in factors:
                factors[phase], sources[phase] = factor, one.source
    if "forward_backward" in factors and "logprobs" not in factors:  # forwards too, if of another model
        factors["logprobs"], sources["logprobs"] = factors["forward_backward"], sources["forward_backward"]
    akin = {phase for one in measured if one.kind == kind for phase in one.factors}
    other = next((one.other_s for one in ordered if one.kind == kind), 0.0)
    return Calibration(factors, other, sources, frozenset(akin))


def measured_lengths(kind: str, data: Any, job: Job, measured: list[Measured]) -> tuple[Lengths, str] | None:
    """Lengths of the same rows in an earlier stage of the same kind, under the limits of now; with their source."""
    like = [one for one in measured if one.kind == kind and one.data == data]
    if not like:
        return None
    newest = max(like, key=lambda one: one.finished_at)
    was, work = newest.lengths, job.workload
    completion = _under(was.completion, newest.limits[1], work.completion_length)
    longest = _under(was.longest, newest.limits[1], work.completion_length)
    row = was.prompt + completion if kind == "grpo" else _under(was.row, newest.limits[0], work.sequence_length)
    return Lengths(row, was.prompt, completion, longest), newest.source


def _under(mean: float, limit: int, now: int) -> float:
    """A mean length under another limit: rows that filled the old limit are taken to fill the new one."""
    if not limit:
        return mean
    return mean / limit * now if mean >= 0.9 * limit else min(mean, float(now))


def measured_stages(runs_dir: Path, run_dir: Path, shape: Shape, device: Device) -> list[Measured]:
    """Every finished stage with a ledger of this model shape on this device, in the newest runs beside this one."""
    folders = {path.resolve() for path in runs_dir.iterdir() if path.is_dir()} if runs_dir.is_dir() else set()
    if run_dir.is_dir():
        folders.add(run_dir.resolve())
    newest = sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True)[:NEWEST_RUNS]
    return [one for folder in newest for one in _of_run(RunFolder(folder), shape, device)]


def _of_run(run: RunFolder, shape: Shape, device: Device) -> Iterator[Measured]:
    try:
        resolved = run.read_resolved()
        if not resolved or shape_of(find_config(str(resolved["model"]))) != shape:
            return
    except (UserError, KeyError):
        return  # another schema, or a model that is gone: it measured nothing we can compare
    reshaped = any(stage.get("kind") in ("upscale", "upcycle") for stage in resolved.get("stages", []))
    for folder in run.stages():
        try:
            record = read_record(folder.path)
            if record is None or record["kind"] in ("base", "export", *SURGERY_KINDS) or not record.get("ledger"):
                continue
            if reshaped and _parent_shape(run, record) != shape:
                continue
            one = _of_record(f"{run.path.name}/{folder.path.name}", folder.path, record, resolved, shape, device)
        except (UserError, ValidationError, CannotEstimate, KeyError):
            continue  # a record of another version, without what we compare
        if one is not None:
            yield one


def _parent_shape(run: RunFolder, record: dict[str, Any]) -> Shape:
    """The shape of the model that a stage worked on; KeyError or UserError where it cannot be told."""
    return shape_of(find_config(str(run.path / record["parents"][0]["folder"] / "model")))


def _of_record(
    source: str, folder: Path, record: dict[str, Any], resolved: dict[str, Any], shape: Shape, device: Device
) -> Measured | None:
    environment = record["environment"]
    processes = int(environment["processes"])
    where = _device_of(environment, processes)
    if where is None or (where.kind, where.name) != (device.kind, device.name):
        return None
    stage: Any = TypeAdapter(Stage).validate_python(_without_data(record["config"]), by_alias=True, by_name=True)
    likely = rates_of(where)["likely"]
    if getattr(stage, "model", None) is not None:
        return None  # a teacher drew, of another shape
    if record["kind"] in ("sample", "evaluate"):
        return _decoding(record, stage, processes, shape, where, likely, source)
    then = resolved.get("runtime", {})
    runtime = Runtime(
        processes=processes,
        zero_stage=environment["zero_stage"],
        micro_batch_size=environment.get("micro_batch_size") or then.get("micro_batch_size", 1),
        deepspeed_config=then.get("deepspeed_config") if environment["zero_stage"] else None,
    )
    job = training_job(stage, sizes_of(stage, runtime, None, False), runtime, where.kind)
    return _training(folder, record, job, shape, where, likely, source)


def _without_data(config: dict[str, Any]) -> dict[str, Any]:
    """A stage's block whose rows lie elsewhere: how many there were does not matter, and the source may be gone."""
    if "data" not in config:
        return config
    return config | {"data": {"path": "measured.jsonl", "max_prompt_tokens": config["data"].get("max_prompt_tokens")}}


def _device_of(environment: dict[str, Any], processes: int) -> Device | None:
    """The device a record was made on, as one rank's share."""
    if environment["device"] != "cpu":
        return gpu_of_driver_name(environment["device"])
    here = this_cpu(1)
    described = f"{environment['cpu']}, {environment['cpu_count']} cores"
    return replace(this_cpu(processes, int(environment["cpu_count"]), here.memory), name=described)


def _training(
    folder: Path, record: dict[str, Any], job: Job, shape: Shape, device: Device, rates: Rates, source: str
) -> Measured | None:
    path = folder / "metrics.jsonl"
    steps = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    steps = steps[1:] if len(steps) > 1 else steps
    if not steps or job.algebra is None:
        return None
    samples = job.algebra.batch_size
    tokens = fmean(step["perf/tokens_per_s"] * step["timing_s/step"] for step in steps) / samples
    completion = fmean(step.get("completions/mean_length", 0.0) for step in steps)
    longest = fmean(step.get("completions/max_length", 0.0) for step in steps)
    row = tokens / 2 if job.workload.is_of_pairs else tokens
    lengths = Lengths(row, max(1.0, tokens - completion), completion, longest)
    modelled = update_seconds(shape, job, lengths, device, rates)
    spent = {
        phase: fmean(sum(step.get(f"timing_s/{name}", 0.0) for name in names) for step in steps)
        for phase, names in LEDGER_PHASES.items()
    }
    factors = {phase: spent[phase] / modelled[phase] for phase in spent if modelled[phase] > 0 and spent[phase] > 0}
    other = fmean(sum(step.get(f"timing_s/{name}", 0.0) for name in OTHER) for step in steps) / samples
    limits = (job.workload.sequence_length, job.workload.completion_length)
    data, when = record["identity"].get("data"), str(record["finished_at"])
    return Measured(source, record["kind"], data, lengths, limits, factors, other, when)


def _decoding(
    record: dict[str, Any], stage: Any, ranks: int, shape: Shape, device: Device, rates: Rates, source: str
) -> Measured | None:
    metrics, spent = record["metrics"], record["ledger"]["timing_s"].get("generate")
    if record["kind"] == "sample":
        completion, drawn = float(metrics["mean_tokens"]), int(metrics["draws"])
    else:
        suites = [suite for suite in metrics.values() if "mean_tokens" in suite]  # a benchmark may decode nothing
        items = sum(suite["n"] for suite in suites)
        if not items:
            return None
        completion = sum(suite["mean_tokens"] * suite["n"] for suite in suites) / items
        drawn = items * (1 + stage.draws)
    job = decoding_job(stage, drawn, ranks, device.kind)
    limit, prompt = job.workload.completion_length, job.workload.prompt_length
    lengths = Lengths(prompt + completion, prompt, completion, limit)
    modelled = stage_decode_seconds(shape, job, lengths, device, rates)
    if not modelled or not spent:
        return None
    data = record["identity"].get("data", record["identity"].get("suites"))
    factors = {"decode": spent / modelled}
    return Measured(source, record["kind"], data, lengths, (0, limit), factors, 0.0, str(record["finished_at"]))
