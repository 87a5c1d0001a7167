"""Which jobs a run becomes, and which waits for which: one job a stage, or one for all.

A stage's job waits for the stages it starts from, not for their evaluations: an evaluation runs beside the next stage.
Only where a model has a gate does what follows wait for the evaluation that decides it, as `posttrain run` would.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from launch.gate import gate_of, opponent_of
from training.config.stages import TRAINING_KINDS
from training.plan import BASE, PlannedStage, RunPlan

WHOLE = "all"
"""The name of the job that runs the whole pipeline."""


@dataclass(frozen=True)
class Job:
    """One batch job. `stage` None runs the whole pipeline; `after` names the jobs that must succeed first.

    `resumes` tells whether what it runs goes on from a checkpoint; a stage that does not starts again when requeued.
    """

    name: str
    stage: str | None
    after: tuple[str, ...] = ()
    resumes: bool = True


def whole_job() -> Job:
    """The one job that takes the pipeline from its base to its report."""
    return Job(WHOLE, None)


def stage_jobs(plans: Sequence[RunPlan], past_gates: bool = False) -> list[Job]:
    """Return a job for each stage that some plan has not finished, in the pipeline's order.

    Several plans are the members of an array: the same stages with other values. The base has no job of its own; the
    first stages that need it make it.
    """
    stages = plans[0].stages
    waiting = {stage.name for plan in plans for stage in plan.stages if stage.state != "done" and stage.name != BASE}
    jobs: list[Job] = []
    gates: list[str] = []
    for stage in stages:
        if stage.name in waiting:
            needed = [*stage.parents, *(() if past_gates else gates), *_compared_with(plans[0], stage)]
            jobs.append(Job(stage.name, stage.name, _among(waiting, needed), stage.kind in (*TRAINING_KINDS, "sample")))
        if gate_of(plans[0], stage) is not None:
            gates.append(stage.name)
    return jobs


def _compared_with(plan: RunPlan, evaluation: PlannedStage) -> list[str]:
    gate = gate_of(plan, evaluation)
    return [] if gate is None else [opponent_of(plan, evaluation, gate).name]


def _among(waiting: Iterable[str], names: Iterable[str]) -> tuple[str, ...]:
    """The names that have a job, each once, in the order first met."""
    return tuple(dict.fromkeys(name for name in names if name in set(waiting)))
