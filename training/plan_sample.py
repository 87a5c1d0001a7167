"""What a `sample` or `grpo` stage is made of beside its data: the model that draws, the reward model, the judge."""

from collections.abc import Callable
from typing import Any

from data.own_functions import source_sha256
from training.config import StageBase
from training.config.sample_checks import JUDGE_KEY
from training.config.scorers import stage_named


def drawn_from_parent(stage: StageBase) -> bool:
    """Whether a stage starts from a model of the pipeline: all do, but a sample stage with a teacher."""
    return getattr(stage, "model", None) is None


def scoring_stages(stage: StageBase) -> list[str]:
    """The stages whose models score the completions of a stage."""
    block = getattr(stage, "reward_model", None)
    name = None if block is None else stage_named(block.model)
    return [] if name is None else [name]


def drawing_identity(stage: StageBase, parents: list[str], model: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """Return what identifies teacher, reward model and judge by content, {} where there is none; `parents` are the
    names of the stage's.

    `model` gives the content of a model outside the pipeline. A stage is named by its place among the parents, whose
    fingerprints are in the identity.
    """
    found: dict[str, Any] = {}
    teacher, reward_model, judge = (getattr(stage, name, None) for name in ("model", "reward_model", "judge"))
    if teacher is not None:
        found["model"] = model(teacher)
    if reward_model is not None:
        name = stage_named(reward_model.model)
        found["reward_model"] = model(reward_model.model) if name is None else {"parent": parents.index(name)}
    if judge is not None:
        found["judge"] = {"callable_sha256": source_sha256(judge.callable, JUDGE_KEY)}
    return found
