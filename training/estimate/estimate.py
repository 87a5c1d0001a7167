"""What a pipeline will take, stage by stage: does it fit, how long, how much energy and money.

Times are ranges: `low` at the fast rates and short rows, `high` at the slow rates and rows as long as the limits admit,
`likely` between them. A ledger of an earlier run narrows the rates, and the lengths where it saw the same rows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from data.errors import UserError
from training.config import Pipeline
from training.estimate.calibration import Calibration, Measured, calibration_for, measured_lengths, measured_stages
from training.estimate.hardware import Device
from training.estimate.known_models import find_config
from training.estimate.memory import Memory, memory
from training.estimate.parameters import Parameters, count
from training.estimate.shape import Shape, shape_of
from training.estimate.stage_shapes import scoring_parameters, stage_shapes, teacher_shape
from training.estimate.step_time import (
    Lengths,
    Rates,
    rates_of,
    stage_decode_seconds,
    tokens_per_second,
    update_seconds,
)
from training.estimate.workloads import CannotEstimate, Job, job_of
from training.plan import PlannedStage, RunPlan
from training.record import read_record

RESERVE = 0.05
"""Share of the memory left free: fragmentation and what nobody counts."""
SPREAD_AKIN, SPREAD_OTHER = 1.25, 1.6
"""Factors within which a time calibrated by a stage of the same kind, or another, lies (docs/plan.md: Accuracy)."""
FILLS = {"fast": 0.1, "likely": 0.4, "slow": 1.0}
"""Mean length as a share of the limit, where nothing says how long rows are."""


@dataclass(frozen=True)
class Range:
    """Seconds, hours or whatever, from the fast to the slow end."""

    low: float
    likely: float
    high: float

    def times(self, factor: float) -> "Range":
        """The range scaled."""
        return Range(self.low * factor, self.likely * factor, self.high * factor)


@dataclass(frozen=True)
class Pace:
    """Seconds of an update and what follows: 10,400 updates in 198 h are 68.5 s an update, 18.3 min a round of 16."""

    update_s: float
    updates: float
    updates_per_round: float

    @property
    def round_s(self) -> float:
        """Seconds of a rollout round with all the updates it feeds."""
        return self.update_s * self.updates_per_round

    @property
    def total_s(self) -> float:
        """Seconds of all updates."""
        return self.update_s * self.updates

    @classmethod
    def of_total(cls, total_s: float, updates: float, updates_per_round: float) -> "Pace":
        """The pace that a known total means."""
        return cls(total_s / updates, updates, updates_per_round)


@dataclass(frozen=True)
class StageTime:
    """The time of a stage to do. `phases` are likely seconds of one update, or of the whole of a decoding stage."""

    update_s: Range | None
    total_s: Range | None
    phases: dict[str, float]
    lengths: Lengths
    lengths_from: str
    generation_tokens_per_s: float | None
    calibration: Calibration


@dataclass(frozen=True)
class StageEstimate:
    """What one stage will take; `why_not` says what could not be estimated. `spent_s` is set once it is done.

    `shape` is that of the model it trains or draws with: its parent's, or its teacher's.
    """

    name: str
    kind: str
    job: Job | None
    memory: Memory | None
    fits: bool | None
    time: StageTime | None
    spent_s: float | None = None
    why_not: str | None = None
    shape: Shape | None = None


@dataclass(frozen=True)
class Estimate:
    """The whole pipeline on `ranks` ranks of `device`; None where the device is not known."""

    model: str
    shape: Shape | None
    parameters: Parameters | None
    device: Device | None
    ranks: int
    rates: dict[str, Rates]
    stages: list[StageEstimate]
    measured: list[Measured] = field(default_factory=list)
    why_not: str | None = None

    @property
    def to_do(self) -> list[StageEstimate]:
        """The stages that have not run yet."""
        return [stage for stage in self.stages if stage.spent_s is None]

    @property
    def total_s(self) -> Range | None:
        """Seconds of all stages to do; None unless each is known."""
        return None if self.not_known or self.known_in_part else self.known_s

    @property
    def known_s(self) -> Range | None:
        """Seconds of what is to do and known, the least that all of it takes; None if nothing is."""
        known = [each.time.total_s for each in self.to_do if each.time is not None]
        times = [one for one in known if one is not None]
        if not times:
            return None
        return Range(sum(one.low for one in times), sum(one.likely for one in times), sum(one.high for one in times))

    @property
    def not_known(self) -> list[str]:
        """Names of the stages to do whose time is not known."""
        return [stage.name for stage in self.to_do if stage.time is None or stage.time.total_s is None]

    @property
    def known_in_part(self) -> list[str]:
        """Names of the evaluations to do whose suites alone are known: what benchmarks take is not."""
        others = [stage for stage in self.to_do if stage.name not in self.not_known]
        return [stage.name for stage in others if stage.job is not None and stage.job.benchmarks]

    @property
    def too_big(self) -> list[StageEstimate]:
        """The stages that do not fit."""
        return [stage for stage in self.stages if stage.fits is False]


def estimate(pipeline: Pipeline, plan: RunPlan, device: Device | None, fill: float | None = None) -> Estimate:
    """Estimate every stage; what cannot be estimated is said in words, never raised.

    `fill` is the mean length of rows and completions as a share of their limits, for stages no ledger measured.
    """
    rates = {} if device is None else rates_of(device)
    empty = Estimate(pipeline.model, None, None, device, pipeline.runtime.processes, rates, [])
    try:
        shape = shape_of(find_config(pipeline.model))
    except UserError as error:
        return replace(empty, why_not=str(error))
    runs_dir = Path(pipeline.runtime.runs_dir)
    measured = [] if device is None else measured_stages(runs_dir, plan.run_dir, shape, device)
    shapes = stage_shapes(pipeline, shape)
    stages = [
        _stage(pipeline, planned, shapes, device, measured, fill)
        for planned in plan.stages
        if planned.stage is not None
    ]
    return replace(empty, shape=shape, parameters=count(shape), stages=stages, measured=measured)


def _stage(
    pipeline: Pipeline,
    planned: PlannedStage,
    shapes: Mapping[str, Shape],
    device: Device | None,
    measured: list[Measured],
    fill: float | None,
) -> StageEstimate:
    assert planned.stage is not None
    shape, spent = shapes[planned.stage.parent], _spent(planned)
    try:
        job = job_of(pipeline, planned.stage, pipeline.runtime, "gpu" if device is None else device.kind)
        teacher = teacher_shape(planned.stage)
        scoring = scoring_parameters(pipeline, planned.stage, shapes)
    except CannotEstimate as reason:
        return StageEstimate(planned.name, planned.kind, None, None, None, None, spent, str(reason))
    if teacher is not None:
        shape, measured = teacher, []
    job = replace(job, workload=replace(job.workload, scoring_parameters=scoring))
    needed = memory(shape, job.workload)
    fits = None if device is None else fits_on(needed, device)
    time = None if device is None or spent is not None else stage_time(planned, shape, job, device, measured, fill)
    return StageEstimate(planned.name, planned.kind, job, needed, fits, time, spent, shape=shape)


def fits_on(needed: Memory, device: Device) -> bool:
    """Whether a rank fits, with the reserve left free."""
    return needed.peak <= (1 - RESERVE) * device.memory


def _spent(planned: PlannedStage) -> float | None:
    record = read_record(planned.folder) if planned.state == "done" else None
    return None if record is None or not record.get("ledger") else float(record["ledger"]["wall_s"])


def stage_time(
    planned: PlannedStage, shape: Shape, job: Job, device: Device, measured: list[Measured], fill: float | None
) -> StageTime:
    """Estimate the seconds of a stage, from the ledgers in `measured` where they tell."""
    calibration = calibration_for(job.workload.kind, measured)
    data = planned.identity.get("data", planned.identity.get("suites"))
    known = measured_lengths(job.workload.kind, data, job, measured)
    lengths = {name: known[0] if known else assumed_lengths(job, fill or share) for name, share in FILLS.items()}
    phases = {name: _phases(name, shape, job, lengths[name], device, calibration) for name in lengths}
    span = Range(*(sum(phases[name].values()) for name in ("fast", "likely", "slow")))
    update, total = (span, None) if job.algebra is not None else (None, span if span.high else None)
    if update is not None and job.updates is not None:
        total = update.times(job.updates)
    speed = None
    if job.decoded is not None:
        factor = calibration.factors.get("generate" if job.workload.trains else "decode", 1.0)
        speed = tokens_per_second(shape, job, lengths["likely"], device, rates_of(device)["likely"]) / factor
    source = known[1] if known else "given by --fill" if fill else "assumed"
    return StageTime(update, total, phases["likely"], lengths["likely"], source, speed, calibration)


def _phases(
    name: str, shape: Shape, job: Job, lengths: Lengths, device: Device, calibration: Calibration
) -> dict[str, float]:
    """Seconds by phase at the fast, likely or slow end; measured phases stand on the likely rates they were held to."""
    rates = rates_of(device)
    modelled = _modelled(shape, job, lengths, device, rates[name])
    likely = _modelled(shape, job, lengths, device, rates["likely"])
    for phase in modelled.keys() & calibration.factors.keys():
        spread = SPREAD_AKIN if phase in calibration.akin else SPREAD_OTHER
        end = {"fast": 1 / spread, "likely": 1.0, "slow": spread}[name]
        modelled[phase] = likely[phase] * calibration.factors[phase] * end
    if job.algebra is not None:
        modelled["other"] = calibration.other_s * job.algebra.batch_size
    return modelled


def _modelled(shape: Shape, job: Job, lengths: Lengths, device: Device, rates: Rates) -> dict[str, float]:
    if job.algebra is not None:
        return update_seconds(shape, job, lengths, device, rates)
    spent = stage_decode_seconds(shape, job, lengths, device, rates)
    return {} if spent is None else {"decode": spent}


def assumed_lengths(job: Job, fill: float) -> Lengths:
    """Lengths where nobody measured: limits times `fill`; a prompt of assumed length is taken as it is, a packed row is
    full.
    """
    work = job.workload
    completion = fill * work.completion_length
    prompt = work.prompt_length * (fill if job.prompt_limited else 1.0)
    row = prompt + completion if work.kind == "grpo" else (1.0 if job.packed else fill) * work.sequence_length
    return Lengths(row, prompt, completion, min(1.0, 2 * fill) * work.completion_length)


def gpus_that_fit(stages: list[StageEstimate], devices: list[Device]) -> list[str]:
    """Names of the devices on which every stage fits, the smallest first."""
    needed = [stage.memory for stage in stages if stage.memory is not None]
    fitting = [device for device in devices if all(fits_on(one, device) for one in needed)]
    return [device.name for device in sorted(fitting, key=lambda device: (device.memory, device.name))]
