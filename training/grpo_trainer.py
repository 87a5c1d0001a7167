"""The one GRPOTrainer subclass: three overrides of TRL 1.16, each a line or two around a function elsewhere.

1. `_get_train_sampler`: TRL's order, made resumable in every epoch (`training.resumable`).
2. `_prepare_inputs`: hands each finished rollout round to `on_round` (samples, group signal).
3. `_save_checkpoint`: saves the rollout buffer and micro-step count of this rank, then commits (`training.checkpoint`).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from trl import GRPOTrainer

from training.resumable import CommitsCheckpoints, EpochRepeatSampler


class GrpoTrainer(CommitsCheckpoints, GRPOTrainer):
    """GRPO whose interrupted runs go on as if nothing had happened, also in the middle of a rollout round."""

    on_round: Callable[["GrpoTrainer"], None]
    epoch_sampler: EpochRepeatSampler

    def _get_train_sampler(self, dataset: Any = None) -> EpochRepeatSampler:
        plain = super()._get_train_sampler(dataset)
        self.epoch_sampler = EpochRepeatSampler(
            data_source=plain.data_source,
            mini_repeat_count=plain.mini_repeat_count,
            batch_size=plain.batch_size,
            repeat_count=plain.repeat_count,
            shuffle=plain.shuffle,
            seed=plain.seed,
        )
        return self.epoch_sampler

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if self._buffered_inputs is not before:
            self.on_round(self)
        return inputs

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(rollout_state(self), folder / f"rollout.rank{self.accelerator.process_index}.pt")
        super()._save_checkpoint(model, trial)

    def restore(self, checkpoint: Path) -> None:
        """Put back what `rollout_state` saved; the file's hash was checked against the checkpoint's manifest."""
        path = checkpoint / f"rollout.rank{self.accelerator.process_index}.pt"
        state = torch.load(path, weights_only=True)
        self._step, self._buffered_inputs = state["micro_step"], state["buffer"]


def rounds_begun(trainer: GRPOTrainer) -> int:
    """Rollout rounds generated before the one of the present micro-step."""
    return trainer._step // (trainer.args.steps_per_generation * trainer.num_iterations)


def rollout_state(trainer: GRPOTrainer) -> dict[str, Any]:
    """This rank's micro-step count and, in the middle of a round, the completions still to be trained on."""
    mid_round = trainer._step % (trainer.args.steps_per_generation * trainer.num_iterations) != 0
    return {"micro_step": trainer._step, "buffer": trainer._buffered_inputs if mid_round else None}
