"""The loss on held-out rows (`data.validation`) during training, by the trainer's own evaluation, and beside it the KL
from the start model (`training.held_out_kl`).

It is measured inside a step's account, before a checkpoint of that step, and leaves the random numbers of training
alone: what a stage learns does not depend on whether or how often it is measured.
"""

from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.context import StageContext
from training.held_out_kl import METRIC, HeldOutKl
from training.token_cache import tokenised_rows
from training.tokens import TOKEN_COLUMNS


def held_out_tokens(
    context: StageContext, rows: list[dict[str, Any]], tokenizer: Any, arguments: Any
) -> dict[str, Any]:
    """The trainer's argument `eval_dataset` for a stage with rows held out, nothing for others; a collective."""
    if not rows or context.stage.kind not in TOKEN_COLUMNS:
        return {}
    return {"eval_dataset": tokenised_rows(rows, context, tokenizer, arguments)}


class MeasuresHeldOut:
    """Mixin over SFTTrainer, DPOTrainer and RewardTrainer: `evaluate` (TRL 1.16) has random numbers of its own, and
    logs the KL from the start model where it is measured.
    """

    held_out_kl: HeldOutKl | None = None

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        with torch.random.fork_rng():
            kl = None if self.held_out_kl is None else self.held_out_kl.measure(self)
            if kl is not None:
                self._metrics["eval"][METRIC].append(kl)  # type: ignore[attr-defined]
            return super().evaluate(*args, **kwargs)  # type: ignore[misc]


class HeldOutLoss(TrainerCallback):
    """Asks for the loss on held-out rows every so many steps and after the last one."""

    def __init__(self, context: StageContext, trainer: Any, every: int):
        self.context, self.trainer, self.every = context, trainer, every

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The weights are those of the start, or of the checkpoint."""
        if self.trainer.held_out_kl is not None:
            with self.context.ledger.timing("evaluate"):
                self.trainer.held_out_kl.begin(self.trainer, state.global_step)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Called before the trainer logs, evaluates and saves."""
        if state.global_step % self.every == 0 or state.global_step >= state.max_steps:
            control.should_evaluate = True


def held_out_hooks(context: StageContext, trainer: Any) -> list[TrainerCallback]:
    """The callback that measures, where the trainer has held-out rows with something to measure."""
    rows = getattr(trainer, "eval_dataset", None)
    if rows is None or len(rows) == 0:
        return []
    every = context.stage.data.validation.every
    if every == "epoch":
        every = max(1, len(trainer.train_dataset) // context.stage.batch_size)
    watched = getattr(context.stage.health, "held_out_kl", None)
    if watched is not None and watched.policy != "off":
        trainer.held_out_kl = HeldOutKl(context)
    return [HeldOutLoss(context, trainer, every)]
