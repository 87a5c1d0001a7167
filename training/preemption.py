"""TERM or USR1 to any rank, or too little time left: finish the optimizer step, save, end with 75 to be requeued."""

import time
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.rank_state import RankState
from training.stop_signals import StopSignals
from training.walltime import Deadline
from training.world import World, gather


class Preemption(TrainerCallback):
    """Stops all ranks at the same step once any has a reason to; `requested` tells the stage afterwards.

    The checkpoint's commit is the barrier at which the ranks meet. What each part took goes to the rank's state file.
    """

    def __init__(self, world: World, state: RankState, stop: StopSignals, deadline: Deadline):
        self.world, self.rank_state, self.stop, self.deadline = world, state, stop, deadline
        self.requested = False
        self.cause = ""
        self._step_ended = 0.0
        self._step_s = self._save_s = 0.0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """From here on there is something to checkpoint."""
        self.stop.patient = True
        self.rank_state.update(force=True, phase="train", step=state.global_step, max_steps=state.max_steps)
        self._step_ended = time.monotonic()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Agree on stopping: every rank learns of a reason on any."""
        self.deadline.step_took(time.monotonic() - self._step_ended)
        reasons = gather(self.world, (self._reason(), self.stop.waited_s))
        self._step_ended = time.monotonic()
        self.rank_state.update(step=state.global_step)
        found = [(rank, reason) for rank, (reason, _) in enumerate(reasons) if reason]
        if found:
            self.requested = state.global_step < state.max_steps
            self.cause = "{1} on rank {0}".format(*found[0])
            self._step_s = max(waited_s for _, waited_s in reasons)
            control.should_save = self.requested
            control.should_training_stop = True

    def _reason(self) -> str | None:
        if self.stop.first is not None:
            return self.stop.first.name
        return "too little time left" if self.deadline.is_near() else None

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The checkpoint is committed on all ranks."""
        self._save_s = time.monotonic() - self._step_ended
        self.deadline.save_took(self._save_s)
        if self.requested:
            measured = {"cause": self.cause, "step": state.global_step, "until_step_s": round(self._step_s, 3)}
            self.rank_state.update(force=True, preemption={**measured, "checkpoint_s": round(self._save_s, 3)})

    def words(self) -> str:
        """What stopped the ranks and how long it took until they could leave."""
        total_s = self._step_s + self._save_s
        return (
            f"({self.cause}), {total_s:.1f} s later: {self._step_s:.1f} s to the end of the step, "
            f"{self._save_s:.1f} s for the checkpoint"
        )
