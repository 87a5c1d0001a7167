"""The stages of a pipeline, one class per `kind`: model stages and reward models train, `sample` makes data, `evaluate`
measures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from training.config.block import Block, Count, Dtype, Name, PositiveProbability, Probability, Temperature
from training.config.data_blocks import DataBlock
from training.config.decoding import Decoding
from training.config.health import DpoHealth, GrpoHealth, Health, SftHealth
from training.config.probe import Probe
from training.config.rollout_blocks import DynamicSampling, Parity
from training.config.scorers import Judge, RewardModelScore
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


class TrainingStage(StageBase):
    """What the stages that train have in common."""

    data: DataBlock = Field(description="The rows it trains on.")
    batch_size: Count = Field(description="Rows, pairs or completions per optimizer step over all ranks.")
    trainer: dict[str, Any] = Field(
        default_factory=dict, description="Fields of the TRL config of this kind, by their own names."
    )
    lora: Lora | None = Field(default=None, description="Train adapters; null trains all weights.")
    save_dtype: Dtype = Field(default="float32", description="Precision in which the model is written.")
    attention: Literal["eager", "sdpa", "flash_attention_2"] | None = Field(
        default=None, description="Attention implementation; null is transformers' choice."
    )
    health: Health = Field(
        default_factory=Health, description="What is watched, and what an alarm does (docs/health.md)."
    )


class ModelStage(TrainingStage):
    """What the training stages have in common; each leaves a model."""

    gate: Gate | None = Field(default=None, description="What its evaluation must show before the run goes on.")
    probe: Probe | None = Field(
        default=None, description="Measure on held-out questions during training; null does not."
    )


class SftStage(ModelStage):
    """Supervised fine-tuning with trl.SFTTrainer; batch_size counts rows."""

    kind: Literal["sft"] = Field(description="Supervised fine-tuning.")
    health: SftHealth = Field(
        default_factory=SftHealth, description="What is watched, and what an alarm does (docs/health.md)."
    )


class DpoStage(ModelStage):
    """Direct preference optimisation with trl.DPOTrainer; batch_size counts pairs."""

    kind: Literal["dpo"] = Field(description="Direct preference optimisation.")
    health: DpoHealth = Field(
        default_factory=DpoHealth, description="What is watched, and what an alarm does (docs/health.md)."
    )


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
    dynamic_sampling: DynamicSampling | None = Field(
        default=None, description="Replace groups without signal by fresh prompts; null trains on what is drawn."
    )
    parity: Parity = Field(default_factory=Parity, description="Proof that sampler and trainer agree.")
    health: GrpoHealth = Field(
        default_factory=GrpoHealth, description="What is watched, and what an alarm does (docs/health.md)."
    )


class RewardModelStage(TrainingStage):
    """A reward model with trl.RewardTrainer on pairs; batch_size counts pairs. No stage starts from it, it scores."""

    kind: Literal["reward_model"] = Field(description="A model that scores answers.")


class SampleStage(StageBase):
    """Draw completions from the parent model or a teacher, score them, keep pairs, the best or the prompts: the data of
    a later stage (docs/making_data.md).
    """

    kind: Literal["sample"] = Field(description="Draw, score and keep.")
    data: DataBlock = Field(description="The prompts.")
    model: str | None = Field(
        default=None,
        min_length=1,
        description='A teacher that draws in place of the parent: "bundled:NAME", "org/name@commit-or-branch" or a '
        'local folder; "stage:NAME" is short for from. Null draws from the parent.',
    )
    draws: Annotated[int, Field(ge=1)] = Field(default=8, description="Completions drawn per prompt.")
    temperature: Temperature | Annotated[list[Temperature], Field(min_length=2)] = Field(
        default=1.0, description="Sampling temperature, or a list over which the draws of each prompt are divided."
    )
    top_p: PositiveProbability = Field(default=1.0, description="Nucleus; 1.0 keeps every token.")
    max_completion_length: Count = Field(default=128, description="Longest completion, in tokens.")
    rewards: list[RewardSpec] = Field(default_factory=list, description="Rewards that completions are scored with.")
    reward_model: RewardModelScore | None = Field(
        default=None, description="A reward model that scores them; a plain string is its model."
    )
    judge: Judge | None = Field(default=None, description="A function of yours that scores them.")
    keep: Literal["pairs", "best", "prompts"] = Field(
        default="pairs",
        description="pairs: chosen and rejected (for dpo, reward_model); best: rejection sampling (for sft); prompts: "
        "every prompt with its pass rate (for grpo).",
    )
    min_margin: float = Field(default=0.5, ge=0.0, description="pairs: least reward of chosen minus rejected.")
    chosen_at_least: float | None = Field(
        default=None,
        description="pairs, best: least reward of what is chosen or kept; null asks nothing of pairs, above 0 of best.",
    )
    rejected_at_most: float | None = Field(
        default=None, description="pairs: greatest reward of what is rejected; null asks nothing."
    )
    rows_per_prompt: Count = Field(
        default=1, description="pairs, best: most rows of one prompt; no completion is in two of them."
    )
    pass_at_least: float = Field(
        default=1.0, description="Total reward from which a draw counts as passed, for the pass rate of its prompt."
    )
    max_error_rate: Probability = Field(
        default=0.05, description="Stop (exit 4) when a greater share of completions cannot be scored."
    )
    dtype: Dtype = Field(default="float32", description="Precision of the weights while decoding.")
    batch_size: Count = Field(default=64, description="Rows decoded together per rank; changes no result.")


class EvaluateStage(Decoding, StageBase):
    """Measure the parent model on suites."""

    kind: Literal["evaluate"] = Field(description="Measure a model.")


Stage = Annotated[
    SftStage | DpoStage | GrpoStage | RewardModelStage | SampleStage | EvaluateStage, Field(discriminator="kind")
]
STAGE_CLASSES: dict[str, type[StageBase]] = {
    "sft": SftStage,
    "dpo": DpoStage,
    "grpo": GrpoStage,
    "reward_model": RewardModelStage,
    "sample": SampleStage,
    "evaluate": EvaluateStage,
}
MODEL_KINDS = ("sft", "dpo", "grpo")
"""Kinds that leave a language model: what other stages start from and evaluations measure."""
TRAINING_KINDS = (*MODEL_KINDS, "reward_model")
