"""The stages of a pipeline, one class per `kind`: model stages and reward models train, `upscale`, `upcycle` and
`merge` make a model from models, `sample` makes data, `evaluate` measures."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from training.config.block import Count, Dtype, PositiveProbability, Probability, Temperature
from training.config.data_blocks import DataBlock
from training.config.decoding import Decoding
from training.config.export import ExportStage
from training.config.health import DpoHealth, GrpoHealth, Health, SftHealth
from training.config.place import Place
from training.config.probe import Probe
from training.config.rollout_blocks import DynamicSampling, Parity
from training.config.scorers import Judge, RewardModelScore
from training.config.stage_base import MergeStage, StageBase, UpcycleStage, UpscaleStage
from training.config.stage_parts import EnvironmentSpec, Gate, Lora, RewardSpec, ToolSpec


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


class LikelihoodStage(ModelStage):
    """What the stages that trl.SFTTrainer trains have in common."""

    health: SftHealth = Field(
        default_factory=SftHealth, description="What is watched, and what an alarm does (docs/health.md)."
    )
    expert_balance: Literal["off", "aux", "bias"] | None = Field(
        default=None,
        description="Mixture of experts: aux adds the architecture's auxiliary loss, bias moves the router's selection "
        "bias after each step without a loss (docs/experts.md), off does neither; null does what "
        "trainer.router_aux_loss_coef or the model's config says.",
    )
    bias_update_speed: float = Field(
        default=0.001, gt=0.0, description="expert_balance: bias only: how far an expert's bias moves in a step."
    )


class PretrainStage(LikelihoodStage):
    """Continued pretraining on raw text with trl.SFTTrainer, packed; batch_size counts packed rows."""

    kind: Literal["pretrain"] = Field(description="Continued pretraining on text.")

    @model_validator(mode="before")
    @classmethod
    def text_is_packed(cls, stage: Any) -> Any:
        """TRL packs nothing by default; `bfd_split` goes on in the next row where a document is too long."""
        if not isinstance(stage, dict) or not isinstance(stage.get("trainer", {}), dict):
            return stage
        return stage | {"trainer": {"packing": True, "packing_strategy": "bfd_split", **stage.get("trainer", {})}}


class SftStage(LikelihoodStage):
    """Supervised fine-tuning with trl.SFTTrainer; batch_size counts rows."""

    kind: Literal["sft"] = Field(description="Supervised fine-tuning.")
    tools: list[ToolSpec] | Literal["rows"] = Field(
        default_factory=list,
        description="The tools that the rows' conversations call, told in every prompt; rows: each row declares its "
        "own in a column tools (docs/tools.md).",
    )

    @model_validator(mode="before")
    @classmethod
    def what_tools_answer_is_not_trained_on(cls, stage: Any) -> Any:
        """TRL trains on whole completions by default, the answers of tools among them."""
        if not isinstance(stage, dict) or not stage.get("tools") or not isinstance(stage.get("trainer", {}), dict):
            return stage
        return stage | {"trainer": {"assistant_only_loss": True, **stage.get("trainer", {})}}


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
    reward_model: RewardModelScore | None = Field(
        default=None, description="A reward model that scores them beside the rewards; a plain string is its model."
    )
    judge: Judge | None = Field(default=None, description="A function of yours that scores them beside the rewards.")
    max_error_rate: Probability = Field(
        default=0.05, description="Stop (exit 4) when a greater share of completions cannot be scored."
    )
    dynamic_sampling: DynamicSampling | None = Field(
        default=None, description="Replace groups without signal by fresh prompts; null trains on what is drawn."
    )
    rollout: Literal["transformers", "vllm"] = Field(
        default="transformers",
        description="What draws the completions: posttrain's own sampler, or vLLM as `runtime.vllm` says "
        "(docs/rollout_backends.md).",
    )
    one_step_off_policy: bool = Field(
        default=False,
        description="Draw the next rollout round while this one is trained, with the weights from before it, and "
        "correct the loss for their age ([rollout_backends.md](rollout_backends.md#one-step-off-policy)).",
    )
    tools: list[ToolSpec] = Field(
        default_factory=list, description="Functions that the policy may call while it answers (docs/tools.md)."
    )
    environment: EnvironmentSpec | None = Field(
        default=None,
        description="A world with state whose methods the policy may call, one for each completion (docs/tools.md).",
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
    model: Place | None = Field(
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
    PretrainStage
    | SftStage
    | DpoStage
    | GrpoStage
    | RewardModelStage
    | UpscaleStage
    | UpcycleStage
    | MergeStage
    | SampleStage
    | EvaluateStage
    | ExportStage,
    Field(discriminator="kind"),
]
STAGE_CLASSES: dict[str, type[StageBase]] = {
    "pretrain": PretrainStage,
    "sft": SftStage,
    "dpo": DpoStage,
    "grpo": GrpoStage,
    "reward_model": RewardModelStage,
    "upscale": UpscaleStage,
    "upcycle": UpcycleStage,
    "merge": MergeStage,
    "sample": SampleStage,
    "evaluate": EvaluateStage,
    "export": ExportStage,
}
SURGERY_KINDS = ("upscale", "upcycle", "merge")
"""Kinds that make a model from models without training."""
MODEL_KINDS = ("pretrain", "sft", "dpo", "grpo", *SURGERY_KINDS)
"""Kinds that leave a language model: what other stages start from and evaluations measure."""
TRAINING_KINDS = ("pretrain", "sft", "dpo", "grpo", "reward_model")
