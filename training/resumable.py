"""What makes TRL's trainers resume exactly: samplers whose order follows from (seed, epoch), and committed checkpoints.

The trainers in `training.sft`, `training.dpo` and `training.grpo_trainer` call these from their two small overrides.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Sampler
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl.trainer.utils import RepeatSampler

from training.context import StageContext
from training.converted_weights import LoadsConverted


class EpochSampler(Sampler[int]):
    """A shuffle that depends on seed and epoch alone and yields only whole optimizer batches.

    So the same rows meet in each step whatever the number of ranks, and a resumed epoch has its own order. The rows
    that do not fill a batch at an epoch's end are others in the next epoch.
    """

    def __init__(self, rows: int, batch_size: int, seed: int):
        self.rows, self.batch_size, self.seed, self.epoch = rows, batch_size, seed, 0

    def __len__(self) -> int:
        return self.rows // self.batch_size * self.batch_size

    def __iter__(self) -> Iterator[int]:
        order = self._order(self.epoch)
        self.epoch += 1
        yield from order

    def _order(self, epoch: int) -> list[int]:
        order = torch.randperm(self.rows, generator=torch.Generator().manual_seed(self.seed + epoch))
        rows: list[int] = order[: len(self)].tolist()
        return rows

    def step_rows(self, step: int) -> list[int]:
        """The rows of an optimizer step, counted from 1 over all epochs, on all ranks together."""
        epoch, place = divmod(step - 1, len(self) // self.batch_size)
        return self._order(epoch)[place * self.batch_size : (place + 1) * self.batch_size]


class EpochRepeatSampler(RepeatSampler):
    """TRL's RepeatSampler with each epoch's order from (seed, epoch); in the first epoch it is TRL's own order.

    TRL 1.16 keeps one generator over all epochs, so a resumed second epoch replays the first one's order.
    """

    epoch = 0

    def __iter__(self) -> Iterator[int]:
        if self.shuffle:
            assert self.seed is not None
            self.generator.manual_seed(self.seed + self.epoch)
        self.epoch += 1
        return super().__iter__()

    def round_rows(self, number: int) -> list[int]:
        """The rows of a rollout round, counted from 0 over all epochs, on all ranks: each as often as it is drawn."""
        epoch, place = divmod(number, self.num_samples // self.batch_size)
        order = list(range(self.num_samples))
        if self.shuffle:
            assert self.seed is not None
            order = torch.randperm(
                self.num_samples, generator=torch.Generator().manual_seed(self.seed + epoch)
            ).tolist()
        chosen = order[place * self.batch_size : (place + 1) * self.batch_size]
        return [row for row in chosen for _ in range(self.mini_repeat_count)]


class SamplesWholeBatches:
    """Mixin over SFTTrainer and DPOTrainer: `_get_train_sampler` (transformers 5.23) becomes an EpochSampler."""

    optimizer_batch: int
    epoch_sampler: EpochSampler

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        rows = len(self.train_dataset if train_dataset is None else train_dataset)  # type: ignore[attr-defined]
        self.epoch_sampler = EpochSampler(rows, self.optimizer_batch, self.args.seed)  # type: ignore[attr-defined]
        return self.epoch_sampler


class CommitsCheckpoints(LoadsConverted):
    """Mixin over a TRL trainer with two overrides: what `_save_checkpoint` (transformers 5.23, TRL 1.16) writes exists
    once committed, and a save that fails is told and costs no more than itself; `_run_epoch` (transformers 5.23) trains
    no step beyond a checkpoint of the last one, nor where a callback ended training before it began.
    """

    commit_checkpoint: Callable[[Path, Callable[[], None]], None]
    """Has a function write a checkpoint and makes it exist."""

    def save_own_state(self, checkpoint: Path) -> None:
        """Write what the trainer alone knows; nothing unless a subclass says so."""

    def restore(self, checkpoint: Path) -> None:
        """Put back what the trainer alone knows; nothing unless a subclass says so."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoint = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"  # type: ignore[attr-defined]
        save = super()._save_checkpoint  # type: ignore[misc]

        def write() -> None:
            self.save_own_state(checkpoint)
            save(model, trial)

        self.commit_checkpoint(checkpoint, write)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        over = self.state.global_step >= self.state.max_steps  # type: ignore[attr-defined]
        if over or self.control.should_training_stop:  # type: ignore[attr-defined]
            self.control.should_training_stop = True  # type: ignore[attr-defined]
            return
        super()._run_epoch(*args, **kwargs)  # type: ignore[misc]


class ResumeState(TrainerCallback):
    """Puts the sampler on the epoch a checkpoint was taken in and the trainer's own state back; says what is restored.

    SFT and DPO count `num_tokens` in an attribute that TRL 1.16 does not save; the last logged count is in the state.
    """

    def __init__(self, trainer: Any, checkpoint: Path | None, context: StageContext):
        self.trainer, self.checkpoint, self.context = trainer, checkpoint, context

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after the trainer has read the checkpoint's step and before the first batch is drawn."""
        batches = len(kwargs["train_dataloader"])
        steps_per_epoch = max(-(-batches // args.gradient_accumulation_steps), 1)
        self.trainer.epoch_sampler.epoch = state.global_step // steps_per_epoch
        if self.checkpoint is not None:
            counts = [logged["num_tokens"] for logged in state.log_history if "num_tokens" in logged]
            self.trainer._total_train_tokens = counts[-1] if counts else 0
            self.trainer.restore(self.checkpoint)
            self.context.say(self._words(state, steps_per_epoch))

    def _words(self, state: TrainerState, steps_per_epoch: int) -> str:
        epoch, done = divmod(state.global_step, steps_per_epoch)
        buffer = getattr(self.trainer, "_buffered_inputs", None)
        return (
            f"resumed at step {state.global_step} of {state.max_steps}: weights, optimizer, learning rate schedule, "
            f"random numbers of each rank, data after step {done} of {steps_per_epoch} of epoch {epoch + 1}"
            + (f", a rollout round with {len(buffer)} micro-batches a rank" if buffer else "")
            + "; metrics and samples up to there are kept"
        )
