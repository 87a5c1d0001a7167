"""TERM or USR1 to any rank: finish the optimizer step, save, end with exit code 75 for Slurm to requeue the job."""

import signal
from types import FrameType
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.world import World, gather


class Preemption(TrainerCallback):
    """Stops all ranks at the same step once any of them was signalled; `requested` tells the stage afterwards."""

    def __init__(self, world: World):
        self.world = world
        self.signalled = False
        self.requested = False

    def listen(self) -> None:
        """Install the handlers; a second signal ends the process at once."""
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signalled:
            raise SystemExit(75)
        self.signalled = True

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Agree on stopping: every rank learns of a signal to any."""
        if any(gather(self.world, self.signalled)):
            self.requested = state.global_step < state.max_steps
            control.should_save = self.requested
            control.should_training_stop = True
