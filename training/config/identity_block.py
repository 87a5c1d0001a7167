"""The part of a stage that makes it the experiment it is, as plain JSON; what merely says where or how is left out.

Two stages with equal blocks, seeds, parents and input contents are the same experiment. The caller adds those: names of
stages, paths, hub revisions and seeds are not here, since their contents, commits and derived values are what counts.
"""

from __future__ import annotations

from typing import Any

from training.config.stage_base import MergeStage, StageBase
from training.config.stages import GrpoStage, LikelihoodStage, SampleStage
from training.config.trainer_fields import CLASSES, fields

_ELSEWHERE = {"name", "from_", "parent", "seed", "chat_template"}
_NEUTRAL = {"gate", "allow_template_change", "max_error_rate", "health", "parity"}
_UNASKED = ("dynamic_sampling", "benchmarks", "generalisation", "expert_balance", "tools", "environment")
"""Left out where they are null or empty: the experiment is then what it was before there was the key."""
_DECODING_KINDS = ("sample", "evaluate")


def identity_block(stage: StageBase) -> dict[str, Any]:
    """Return a stage's experiment as plain JSON.

    Left out: the stage's name, its parent, seed and chat template file (the caller fingerprints their contents), the
    places of its data, its teacher and what scores beside its rewards, its gate, limits that only stop a run,
    batch_size of decoding, and neutral trainer fields.
    Fields of `trainer` that the file does not set are not filled in; a whole number equals the same number as a float.
    """
    left_out = _ELSEWHERE | _NEUTRAL
    if stage.kind in _DECODING_KINDS:
        left_out = left_out | {"batch_size"}
    block = stage.model_dump(mode="json", exclude=left_out)
    if "trainer" in block:
        block["trainer"] = _identity_fields(stage.kind, block["trainer"])
    for scorer, place in (("reward_model", "model"), ("judge", "callable")):
        if block.get(scorer) is not None:
            block[scorer].pop(place)
            if block[scorer].get("without", "") is None:
                block[scorer].pop("without")
    if isinstance(stage, SampleStage):
        block.pop("model")
    if isinstance(stage, GrpoStage) and stage.reward_model is None:
        block.pop("reward_model")
    if isinstance(stage, GrpoStage) and stage.judge is None:
        block.pop("judge")
    if block.get("probe") is None or block["probe"]["keep_best"] is None:
        block.pop("probe", None)  # it changes nothing that is trained
    for calls in (block, block.get("probe", {})):
        if not calls.get("tools"):
            calls.pop("max_tool_calling_iterations", None)
    if "probe" in block and not block["probe"]["tools"]:
        block["probe"].pop("tools")
    for key in _UNASKED:
        if block.get(key) in (None, []):
            block.pop(key, None)
    if block.get("rollout") == "transformers":
        block.pop("rollout")  # the experiment that it was before there was another
    if block.get("one_step_off_policy") is False:
        block.pop("one_step_off_policy")
    if isinstance(stage, LikelihoodStage) and stage.expert_balance != "bias":
        block.pop("bias_update_speed")
    if isinstance(stage, MergeStage):
        block.pop("base")  # a name
    if "data" in block:
        for name in ("path", "hub", "callable", "stage", "streaming", "license", "max_bad_rows", "max_flagged_rows"):
            block["data"].pop(name)
    return block


def _identity_fields(kind: str, trainer: dict[str, Any]) -> dict[str, Any]:
    return {name: _canonical(kind, name, value) for name, value in trainer.items() if CLASSES.get(name) == "identity"}


def _canonical(kind: str, name: str, value: Any) -> Any:
    """1 and 1.0 are one value where the field is a number."""
    admitted = fields(kind)[name].accepted_kinds
    return float(value) if type(value) is int and "float" in admitted and "int" not in admitted else value
