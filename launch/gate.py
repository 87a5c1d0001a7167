"""Which evaluations a gate compares; the decision itself is `training.gates.decide`."""

from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.config import Gate
from training.plan import BASE, PlannedStage, RunPlan
from training.record import read_record

if TYPE_CHECKING:
    from training.gates import GateResult


def gate_of(plan: RunPlan, evaluation: PlannedStage) -> Gate | None:
    """Return the gate this evaluation decides: the one of the model it measured, if it measured the gate's suite."""
    if evaluation.kind != "evaluate":
        return None
    gate = getattr(plan[evaluation.parents[0]].stage, "gate", None)
    return gate if gate is not None and _measure(evaluation, gate.suite) is not None else None


def opponent_of(plan: RunPlan, evaluation: PlannedStage, gate: Gate) -> PlannedStage:
    """Return the evaluation to compare with: of the model's parent or the base, measured in the same way."""
    model = plan[evaluation.parents[0]]
    other = BASE if gate.over == "base" else model.parents[0]
    for stage in plan.stages:
        if stage.kind == "evaluate" and stage.parents[0] == other and _measured_alike(stage, evaluation, gate.suite):
            return stage
    raise UserError(
        f"stages.{model.name}.gate: no evaluation of {other} measures {gate.suite} as {evaluation.name} does; "
        "use the top-level `evaluate:` block, which measures every model alike"
    )


def opponent(plan: RunPlan, evaluation: PlannedStage, gate: Gate) -> PlannedStage:
    """Return the evaluation to compare with; it must have finished."""
    other = opponent_of(plan, evaluation, gate)
    if read_record(other.folder) is None:
        raise UserError(
            f"stages.{evaluation.parents[0]}.gate: {other.name}, which it is compared with, has not finished"
        )
    return other


def _measured_alike(one: PlannedStage, other: PlannedStage, suite: str) -> bool:
    same_suite = _measure(one, suite) == _measure(other, suite)
    return same_suite and one.identity["experiment"] == other.identity["experiment"]


def _measure(evaluation: PlannedStage, suite: str) -> Any:
    """What an evaluation's identity says of a suite, or of the benchmark that a name like NAME/TASK belongs to."""
    identity = evaluation.identity
    return identity["suites"].get(suite) or identity.get("benchmarks", {}).get(suite.partition("/")[0])


def decide_gate(plan: RunPlan, evaluation: PlannedStage, gate: Gate) -> "GateResult":
    """Return the result of the gate on the items of both evaluations."""
    from training.gates import decide

    other = opponent(plan, evaluation, gate)
    return decide(gate, evaluation.folder / "items.jsonl", other.folder / "items.jsonl")
