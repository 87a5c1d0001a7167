"""Rules of GRPO's loss: TRL 1.16 meets a wrong name in the first training step, and warns where a pair contradicts."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import GrpoStage
from training.config.suggest import nearest
from training.config.trainer_fields import default

ONE_OF = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "multi_objective_aggregation": ("sum_then_normalize", "normalize_then_sum"),
}
"""The values of GRPOConfig's fields that TRL takes as any text."""

SUMMED_OVER_TOKENS = ("bnpo", "dr_grpo", "dapo", "cispo")


def losses_are_trl_s(pipeline: Pipeline) -> Iterator[Finding]:
    """GRPO's loss_type and what belongs to it are names that TRL knows, in a pair that does what it says."""
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, GrpoStage):
            yield from _findings(stage, ("stages", index, "trainer"))


def _findings(stage: GrpoStage, at: KeyPath) -> Iterator[Finding]:
    unknown = False
    for name, values in ONE_OF.items():
        value = stage.trainer.get(name)
        if isinstance(value, str) and value not in values:
            unknown = True
            yield (*at, name), f"must be {' or '.join(values)}{nearest(value, values)}"
    loss = stage.trainer.get("loss_type", default("grpo", "loss_type"))
    level = stage.trainer.get("importance_sampling_level", default("grpo", "importance_sampling_level"))
    if unknown:
        return
    key = (*at, "importance_sampling_level" if "importance_sampling_level" in stage.trainer else "loss_type")
    if loss == "luspo" and level != "sequence":
        yield key, "luspo is a loss of whole sequences; write importance_sampling_level: sequence"
    if loss == "vespo" and level == "sequence":
        yield key, "vespo weighs whole sequences by itself; write importance_sampling_level: token, or remove it"
    if loss in SUMMED_OVER_TOKENS and level == "sequence":
        yield key, f"weighs a sequence by its length under loss_type {loss}; GSPO is loss_type: grpo with it"
