"""The blocks of a grpo stage about its rollouts: which prompts they draw from, and the proof of what they draw."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config.block import Block, Count


class DynamicSampling(Block):
    """Replace groups without signal by fresh prompts (DAPO, arXiv 2503.14476), and choose prompts by difficulty."""

    max_extra: Annotated[float, Field(ge=0.0)] = Field(
        default=1.0,
        description="Groups that a rollout round may draw beyond its own, as a share of them; after that the step goes "
        "on with what it has. 0 replaces none.",
    )
    order: Literal["epoch", "difficulty"] = Field(
        default="epoch",
        description="How a round's own prompts are chosen: in TRL's shuffled passes, or by pass rate, those near one "
        "half and those not seen yet first.",
    )
    pass_at_least: float = Field(
        default=1.0, description="Total reward from which a completion counts as passed, for the pass rate."
    )

    @model_validator(mode="after")
    def it_does_something(self) -> DynamicSampling:
        if self.max_extra == 0.0 and self.order == "epoch":
            raise ValueError("does nothing with max_extra: 0 and order: epoch; change one of them, or remove the block")
        return self


class Parity(Block):
    """Score the same tokens in the sampler and in the trainer: where they differ, the gradient is another policy's."""

    every: Count | None = Field(
        default=100, description="Optimizer steps between two proofs, the first one before step 1; null makes none."
    )
    rows: Count = Field(default=8, description="Completions of each rank that are scored twice.")
    max_mean_kl: Annotated[float, Field(gt=0.0)] = Field(
        default=0.01, description="Stop (exit 4) above this mean KL, in nats a token."
    )
    max_abs_logp_diff: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="Stop above this difference of one token, in nats; null only reports it."
    )
