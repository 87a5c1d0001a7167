"""The stages of a pipeline, one class per `kind`. A model stage trains; `sample` makes data; `evaluate` measures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from training.config.block import Block, Count, Dtype, Name, PositiveProbability, Probability, Temperature
from training.config.data_blocks import DataBlock
from training.config.decoding import Decoding
from training.config.stage_parts import Gate, Lora, RewardSpec


class StageBase(Block):
    """What every stage has."""

    name: Name = Field(description='Unique name of the stage; "base" is taken by the base model.')
    kind: str = Field(description="What the stage does.")
    from_: str | None = Field(
        default=None,
        alias="from",
        description="The model it starts from: base or an earlier sft, dpo or grpo stage; null is the previous model.",
    )
    parent: str = Field(default="", description="Filled in when the file is loaded: the name of the parent model.")
    seed: int | None = Field(default=None, description="Seed of everything random here; null is the pipeline's.")
    chat_template: str | None = Field(
        default=None, description="Give the model this chat template (a shipped name or a file); null keeps its own."
    )
    allow_template_change: bool = Field(
        default=False, description="Accept a chat template or special tokens that differ from the parent's."
    )
    system: str | None = Field(
        default=None, description="System message put first in every prompt; null is the pipeline's."
    )


class ModelStage(StageBase):
    """What the training stages have in common; each leaves a model."""

    data: DataBlock = Field(description="The rows it trains on.")
    batch_size: Count = Field(description="Rows, pairs or completions per optimizer step over all ranks.")
    trainer: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the TRL config of this kind, by their own names."
    )
    lora: Lora | None = Field(default=None, description="Train adapters; null trains all weights.")
    gate: Gate | None = Field(default=None, description="What its evaluation must show before the run goes on.")
    save_dtype: Dtype = Field(default="float32", description="Precision in which the model is written.")
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        default=None, description="Attention implementation; null is transformers' choice."
    )


class SftStage(ModelStage):
    """Supervised fine-tuning with trl.SFTTrainer; batch_size counts rows."""

    kind: Literal["sft"] = Field(description="Supervised fine-tuning.")


class DpoStage(ModelStage):
    """Direct preference optimisation with trl.DPOTrainer; batch_size counts pairs."""

    kind: Literal["dpo"] = Field(description="Direct preference optimisation.")


class GrpoStage(ModelStage):
    """Group-relative policy optimisation with trl.GRPOTrainer; batch_size counts completions."""

    kind: Literal["grpo"] = Field(description="Group-relative policy optimisation.")
    rewards: list[RewardSpec] = Field(min_length=1, description="What completions are scored with.")
    signal: list[str] = Field(
        default_factory=list, description="Rewards that must differ inside a group to give signal; [] is the total."
    )
    max_error_rate: Probability = Field(
        default=0.05, description="Stop (exit 4) when a greater share of completions cannot be scored."
    )


class SampleStage(StageBase):
    """Draw completions from the parent model, score them, keep pairs or the best: the data of a later stage."""

    kind: Literal["sample"] = Field(description="Draw, score and keep.")
    data: DataBlock = Field(description="The prompts.")
    draws: Annotated[int, Field(ge=1)] = Field(default=8, description="Completions drawn per prompt.")
    temperature: Temperature = Field(default=1.0, description="Sampling temperature.")
    top_p: PositiveProbability = Field(default=1.0, description="Nucleus; 1.0 keeps every token.")
    max_completion_length: Count = Field(default=128, description="Longest completion, in tokens.")
    rewards: list[RewardSpec] = Field(min_length=1, description="What completions are scored with.")
    keep: Literal["pairs", "best"] = Field(
        default="pairs", description="pairs: chosen and rejected (for dpo); best: rejection sampling (for sft)."
    )
    min_margin: float = Field(default=0.5, ge=0.0, description="pairs: least reward of chosen minus rejected.")
    max_error_rate: Probability = Field(
        default=0.05, description="Stop (exit 4) when a greater share of completions cannot be scored."
    )
    dtype: Dtype = Field(default="float32", description="Precision of the weights while decoding.")
    batch_size: Count = Field(default=64, description="Rows decoded together per rank; changes no result.")


class EvaluateStage(Decoding, StageBase):
    """Measure the parent model on suites."""

    kind: Literal["evaluate"] = Field(description="Measure a model.")


Stage = Annotated[SftStage | DpoStage | GrpoStage | SampleStage | EvaluateStage, Field(discriminator="kind")]
STAGE_CLASSES: dict[str, type[StageBase]] = {
    "sft": SftStage,
    "dpo": DpoStage,
    "grpo": GrpoStage,
    "sample": SampleStage,
    "evaluate": EvaluateStage,
}
MODEL_KINDS = ("sft", "dpo", "grpo")
