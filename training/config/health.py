"""The `health:` block of a training stage: what watches the run, by which limits, and what an alarm does.

Each detector has a block of its own; `truncation: stop` is short for `{policy: stop}`. The functions that read these
limits are in `training.detectors`, one file each. Nothing here is identity: a limit decides whether a run goes on, and
where one changed what was trained, the record and the children's fingerprints say so (`interventions`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from training.config.block import Block, Count, OpenProbability, Probability

Policy = Literal["off", "warn", "stop", "rollback"]
AboveOne = Annotated[float, Field(gt=1.0)]
Positive = Annotated[float, Field(gt=0.0)]


class DetectorBlock(Block):
    """What all detectors have: what an alarm does."""

    policy: Policy = Field(
        default="warn",
        description="off; warn: say it and go on; stop: save a checkpoint, end with exit 4; rollback: go back to the "
        "last good checkpoint with a lower learning rate.",
    )

    @model_validator(mode="before")
    @classmethod
    def a_plain_policy_is_accepted(cls, block: Any) -> Any:
        if not isinstance(block, str):
            return block
        if block not in get_args(Policy):
            raise ValueError(f"must be {' or '.join(get_args(Policy))}, or a mapping with policy and limits")
        return {"policy": block}


class NotFinite(DetectorBlock):
    """The loss or the gradient norm is NaN or infinite."""

    policy: Policy = Field(default="stop", description="What an alarm does.")


class GradientSpike(DetectorBlock):
    """The gradient norm is many times its recent median."""

    factor: AboveOne = Field(default=20.0, description="Times the median of the window before.")
    window: Count = Field(default=20, description="Optimizer steps before the present one.")


class HeldOutLoss(DetectorBlock):
    """The loss on held-out rows (`data.validation`) rises away from its lowest value: overfitting."""

    rise: Positive = Field(default=0.05, description="Share above the lowest so far.")
    times: Count = Field(default=3, description="Evaluations in a row.")


class HeldOutKl(DetectorBlock):
    """The model is far from the one it started from, on held-out rows (`data.validation`)."""

    above: Positive = Field(
        default=10.0, description="KL from the start model, in nats a token; 0.5 in dpo where it is not given."
    )


DPO_HELD_OUT_KL = 0.5


class ChosenFalling(DetectorBlock):
    """The log-probability of the chosen answers falls while the margin rises: both answers grow unlikely."""

    fall: OpenProbability = Field(default=0.2, description="Share of the first window's mean, in nats an answer.")
    window: Count = Field(default=20, description="Optimizer steps a mean is taken over.")


class LengthBias(DetectorBlock):
    """The margin follows the difference in length of the two answers: length is what was learned."""

    above: Probability = Field(default=0.8, description="Rank correlation of the two, of either sign.")
    window: Count = Field(default=20, description="Optimizer steps.")


class SilentGroups(DetectorBlock):
    """Hardly a group has signal: the step learns nothing."""

    above: Probability = Field(default=0.95, description="Share of groups without signal, mean over the window.")
    window: Count = Field(default=20, description="Rollout rounds.")


class Truncation(DetectorBlock):
    """Completions are cut off at the length limit, so that nothing they say last can be rewarded."""

    above: Probability = Field(default=0.5, description="Share of completions cut off, mean over the window.")
    window: Count = Field(default=5, description="Rollout rounds.")


class EntropyFloor(DetectorBlock):
    """The policy's entropy is gone: all completions of a group will soon be the same."""

    below: Positive = Field(default=0.01, description="Entropy in nats a token, mean over the window.")
    window: Count = Field(default=10, description="Optimizer steps.")


class KlJump(DetectorBlock):
    """The KL to the reference (beta > 0) is many times its recent median."""

    factor: AboveOne = Field(default=10.0, description="Times the median of the window before.")
    above: Positive = Field(default=0.05, description="And at least this, in nats a token.")
    window: Count = Field(default=10, description="Optimizer steps before the present one.")


class LengthDrift(DetectorBlock):
    """Completions have become much longer or shorter than at the start."""

    factor: AboveOne = Field(default=2.5, description="Times, or one part in, the first window's mean length.")
    window: Count = Field(default=10, description="Rollout rounds a mean is taken over.")


class Duplicates(DetectorBlock):
    """Completions of a prompt repeat one another word for word."""

    above: Probability = Field(default=0.9, description="Share of completions that repeat an earlier one of the group.")
    window: Count = Field(default=10, description="Rollout rounds.")


class FormatWithoutAccuracy(DetectorBlock):
    """The reward for the form rises while the reward for the answer falls: the form is being learned in its place."""

    form: str = Field(default="format", description="Name of the reward for the form.")
    answer: str = Field(default="answer", description="Name of the reward for the answer.")
    rise: Positive = Field(default=0.1, description="How much the one rises from one window to the next, and")
    fall: Positive = Field(default=0.05, description="how much the other falls.")
    window: Count = Field(default=20, description="Rollout rounds a mean is taken over.")


class RewardErrors(DetectorBlock):
    """Rewards raise exceptions; `max_error_rate` of the stage stops the run, this one says it earlier."""

    above: Probability = Field(default=0.01, description="Share of all completions so far that could not be scored.")


class Health(Block):
    """What is watched in every training stage."""

    not_finite: NotFinite = Field(default_factory=NotFinite, description="NaN or infinity in loss or gradient.")
    gradient_spike: GradientSpike = Field(default_factory=GradientSpike, description="A spike of the gradient norm.")
    learning_rate_factor: OpenProbability = Field(
        default=0.5, description="rollback only: what the learning rate is multiplied by each time."
    )
    max_rollbacks: Count = Field(default=2, description="rollback only: after so many the next alarm stops the run.")

    @property
    def detectors(self) -> dict[str, DetectorBlock]:
        """The detectors that are on, by name."""
        blocks = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: b for name, b in blocks.items() if isinstance(b, DetectorBlock) and b.policy != "off"}


class SftHealth(Health):
    """What is watched in a stage of kind sft."""

    held_out_loss: HeldOutLoss = Field(default_factory=HeldOutLoss, description="Overfitting.")
    held_out_kl: HeldOutKl = Field(
        default_factory=HeldOutKl, description="Far from the start model; off does not measure it either."
    )


class DpoHealth(SftHealth):
    """What is watched in a stage of kind dpo."""

    @model_validator(mode="before")
    @classmethod
    def preferences_leave_the_model_near_its_start(cls, block: Any) -> Any:
        if not isinstance(block, dict):
            return block
        own = block.get("held_out_kl", {})
        own = {"policy": own} if isinstance(own, str) else own
        return {**block, "held_out_kl": {"above": DPO_HELD_OUT_KL, **own}} if isinstance(own, dict) else block

    chosen_falling: ChosenFalling = Field(default_factory=ChosenFalling, description="Chosen answers grow unlikely.")
    length_bias: LengthBias = Field(default_factory=LengthBias, description="Length is what was learned.")


class GrpoHealth(Health):
    """What is watched in a stage of kind grpo."""

    silent_groups: SilentGroups = Field(default_factory=SilentGroups, description="Groups without signal.")
    truncation: Truncation = Field(default_factory=Truncation, description="Completions cut off.")
    entropy_floor: EntropyFloor = Field(default_factory=EntropyFloor, description="The policy's entropy is gone.")
    kl_jump: KlJump = Field(default_factory=KlJump, description="The KL to the reference jumps.")
    length_drift: LengthDrift = Field(default_factory=LengthDrift, description="Completions change their length.")
    duplicates: Duplicates = Field(default_factory=Duplicates, description="Completions repeat one another.")
    format_without_accuracy: FormatWithoutAccuracy = Field(
        default_factory=FormatWithoutAccuracy, description="The form rises, the answer falls."
    )
    reward_errors: RewardErrors = Field(default_factory=RewardErrors, description="Rewards raise exceptions.")


HEALTH_BLOCKS: dict[str, type[Health]] = {"sft": SftHealth, "dpo": DpoHealth, "grpo": GrpoHealth}
DETECTOR_BLOCKS: dict[str, type[DetectorBlock]] = {
    name: field.annotation
    for health in HEALTH_BLOCKS.values()
    for name, field in health.model_fields.items()
    if isinstance(field.annotation, type) and issubclass(field.annotation, DetectorBlock)
}
"""The block of every detector by its name."""
