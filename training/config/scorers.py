"""What scores completions beside the rewards: a reward model and a judge of the user (sample, grpo)."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from training.config.block import Block, Count
from training.config.place import Place

REWARD_MODEL = "reward_model"
"""What the scores of a reward model are called among those of the rewards."""
JUDGE = "judge"
"""What the scores of a judge are called among them."""
STAGE = "stage:"
"""How a reference to an earlier stage begins where a model or a file may stand as well."""


def stage_named(reference: str | None) -> str | None:
    """Return NAME of "stage:NAME"; None for any other reference."""
    if reference is None or not reference.startswith(STAGE):
        return None
    return reference.removeprefix(STAGE).strip()


class RewardModelScore(Block):
    """Score with a reward model: the log-odds that it gives to a conversation, times the weight."""

    model: Place = Field(
        min_length=1,
        description='"stage:NAME" of an earlier stage of kind reward_model, or a reward model with one output: a local '
        'folder or "org/name@commit-or-branch".',
    )
    weight: float = Field(default=1.0, description="Factor in the total.")
    without: str | None = Field(
        default=None,
        min_length=1,
        description="Score only rows that have no value in this column (`answer`: what no rule can check); null scores "
        "all.",
    )

    @model_validator(mode="before")
    @classmethod
    def a_plain_string_names_the_model(cls, block: Any) -> Any:
        return {"model": block} if isinstance(block, str) else block


class Judge(Block):
    """Score with a function of yours, called once a prompt with all its draws: an LLM behind an API, for example."""

    callable: str = Field(
        description='"package.module:function" with f(completions, prompts, **columns, **arguments) -> one number or '
        "None a completion."
    )
    version: Count = Field(
        description="Your version of the function; raise it when its scores change by something that its file does "
        "not show: another model behind it, another prompt."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments.")
    weight: float = Field(default=1.0, description="Factor in the total.")
