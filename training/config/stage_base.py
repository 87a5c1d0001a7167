"""What every stage has, and the stages that make a model from models without training: upscale, upcycle, merge."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from training.config.block import Block, Count, Dtype, Name, PositiveProbability, Probability
from training.config.place import Place
from training.config.stage_parts import Gate


class StageBase(Block):
    """What every stage has."""

    name: Name = Field(description='Unique name of the stage; "base" is taken by the base model.')
    kind: str = Field(description="What the stage does.")
    from_: str | None = Field(
        default=None,
        alias="from",
        description="The model it starts from: base or an earlier stage that leaves a model; null is the previous one.",
    )
    parent: str = Field(default="", description="Filled in when the file is loaded: the name of the parent model.")
    seed: int | None = Field(default=None, description="Seed of everything random here; null is the pipeline's.")
    chat_template: Place | None = Field(
        default=None, description="Give the model this chat template (a shipped name or a file); null keeps its own."
    )
    allow_template_change: bool = Field(
        default=False, description="Accept a chat template or special tokens that differ from the parent's."
    )
    system: str | None = Field(
        default=None, description="System message put first in every prompt; null is the pipeline's."
    )


class SurgeryStage(StageBase):
    """A stage that makes a model from models, tensor by tensor, without training (docs/surgery.md)."""

    save_dtype: Dtype | None = Field(
        default=None, description="Precision in which the model is written; null keeps that of each tensor."
    )
    gate: Gate | None = Field(default=None, description="What its evaluation must show before the run goes on.")


class UpscaleStage(SurgeryStage):
    """Depth up-scaling (SOLAR, arXiv 2312.15166): two copies of n layers, the last m of one and the first m of the
    other left out, stacked to 2(n - m).
    """

    kind: Literal["upscale"] = Field(description="Stack two copies of the layers.")
    drop_layers: Count = Field(
        description="m: layers left out at the end of the first copy and at the start of the second; SOLAR: 8 of 32."
    )


class UpcycleStage(SurgeryStage):
    """A dense model as a mixture of experts with DeepSeek-V3's router and a shared expert (arXiv 2212.05055,
    2412.19437): it computes what it did before, up to expert_noise.
    """

    kind: Literal["upcycle"] = Field(description="Make experts of feed-forward blocks.")
    experts: Annotated[int, Field(ge=2)] = Field(default=8, description="Routed experts of a layer.")
    experts_per_token: Count = Field(default=2, description="Routed experts that a token is sent to.")
    shared_experts: Count = Field(
        default=1,
        description="Parts of the feed-forward block that every token passes through; each expert is one part of "
        "shared_experts + 1.",
    )
    dense_layers: Annotated[int, Field(ge=0)] = Field(
        default=0, description="First layers that stay dense, as in DeepSeek-V3; 0 gives every layer experts."
    )
    expert_noise: float = Field(
        default=0.02,
        ge=0.0,
        description="Noise on each routed expert, as a share of the standard deviation of its weights, so that the "
        "router has something to learn; 0 computes exactly what the dense model does.",
    )

    @model_validator(mode="after")
    def a_token_is_sent_to_some_of_the_experts(self) -> UpcycleStage:
        if self.experts_per_token >= self.experts:
            raise ValueError(
                f"experts_per_token={self.experts_per_token} leaves nothing to choose among {self.experts} experts; "
                "use fewer, or more experts"
            )
        return self


DIFFERENCE_METHODS = ("task_arithmetic", "ties", "dare_ties")
"""Methods of a merge that add differences to a base."""


class MergeStage(SurgeryStage):
    """One model from several by mergekit: all of one architecture and size."""

    kind: Literal["merge"] = Field(description="Merge models.")
    from_: list[str] = Field(  # type: ignore[assignment]
        alias="from", min_length=2, description="The models to merge, each the base or an earlier stage."
    )
    method: Literal["linear", "slerp", "task_arithmetic", "ties", "dare_ties"] = Field(
        default="linear", description="How (docs/surgery.md); the last three add differences to `base`."
    )
    weights: list[float] | None = Field(
        default=None, description="A weight for each model; null weighs them alike. Not for slerp."
    )
    t: Probability | None = Field(
        default=None, description="slerp only: where between the first model (0) and the second (1); null is 0.5."
    )
    density: PositiveProbability | None = Field(
        default=None, description="ties, dare_ties only: share of each difference that is kept; null is 0.5."
    )
    base: str | None = Field(
        default=None,
        description="task_arithmetic, ties, dare_ties only: the model that differences are taken from; null is base.",
    )
