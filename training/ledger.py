"""Where the seconds went: exclusive wall time of the main thread by phase, one schema for every trainer.

A phase entered inside another pauses the outer one, so phases never overlap and, with `unaccounted`, sum to `step`.
A step runs from one optimizer step's end to the next, so logging and saving fall into the step that follows them. What
follows the last step has no line of its own; the totals have it (`end_training`).
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

PHASES = (
    "data",
    "generate",
    "reward",
    "old_logprobs",
    "ref_logprobs",
    "forward_backward",
    "optimizer",
    "weight_sync",
    "checkpoint",
    "evaluate",
    "log",
)


class Ledger:
    """Accounts for one rank's time. `clock` is injected by tests; the default is monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter):
        self._clock = clock
        self._stack: list[str] = []
        self._since = clock()
        self._step_started = self._since
        self._step: dict[str, float] = dict.fromkeys(PHASES, 0.0)
        self.totals: dict[str, float] = dict.fromkeys((*PHASES, "step", "unaccounted"), 0.0)
        self.after_last_step: dict[str, float] = {}  # of the totals, what no step has: the last checkpoint, above all
        self.overlap: dict[str, float] = {}  # seconds of work beside the main thread, by phase
        self._overlap_step: dict[str, float] = {}
        self.own_s = 0.0  # what this rank worked by itself, not waiting for others (training.balance)
        self.restored_s = 0.0  # of the totals' steps, those of earlier attempts at the stage
        self.on_change: Callable[[str | None], None] = lambda phase: None  # hears each phase that begins or goes on

    @property
    def phase(self) -> str | None:
        """The phase under way, for heartbeats."""
        return self._stack[-1] if self._stack else None

    @contextmanager
    def timing(self, phase: str) -> Iterator[None]:
        """Charge the time inside the block to `phase`, less what inner phases take."""
        self.enter(phase)
        try:
            yield
        finally:
            self.leave()

    def _charge(self) -> None:
        now = self._clock()
        if self._stack:
            self._step[self._stack[-1]] += now - self._since
        self._since = now

    def enter(self, phase: str) -> None:
        """Open a phase whose end is heard elsewhere (`leave`); `timing` is the safer form."""
        if phase not in PHASES:
            raise KeyError(f"{phase} is not a phase of the ledger: {', '.join(PHASES)}")
        self._charge()
        self._stack.append(phase)
        self.on_change(phase)

    def leave(self) -> None:
        """Close the phase opened last."""
        self._charge()
        self._stack.pop()
        self.on_change(self.phase)

    def beside(self, phase: str, seconds: float) -> None:
        """Note work of this step that another thread did while the main thread was at something else."""
        self.overlap[phase] = self.overlap.get(phase, 0.0) + seconds
        self._overlap_step[phase] = self._overlap_step.get(phase, 0.0) + seconds

    def take_overlap(self) -> dict[str, float]:
        """Seconds noted with `beside` since the last call, by phase."""
        taken, self._overlap_step = self._overlap_step, {}
        return taken

    def begin(self) -> None:
        """Start the first step here: what came before (loading, tokenising) is not a step's time."""
        self._since = self._step_started = self._clock()
        self._step = dict.fromkeys(PHASES, 0.0)

    def end_step(self) -> dict[str, float]:
        """Close the step and return seconds by phase, with `step` and `unaccounted`."""
        self._charge()
        step_s = self._since - self._step_started
        closed = {**self._step, "step": step_s, "unaccounted": step_s - sum(self._step.values())}
        for name, seconds in closed.items():
            self.totals[name] += seconds
        self._step_started = self._since
        self._step = dict.fromkeys(PHASES, 0.0)
        return closed

    def end_training(self) -> None:
        """Add the phases since the last step's end to the totals, though no step is left to have them: no `step`."""
        self._charge()
        self.after_last_step = {name: seconds for name, seconds in self._step.items() if seconds}
        for name, seconds in self.after_last_step.items():
            self.totals[name] += seconds
        self._step = dict.fromkeys(PHASES, 0.0)

    def restore(self, totals: dict[str, float]) -> None:
        """Add what the steps up to a checkpoint took; call it once, when they are resumed from."""
        for name, seconds in totals.items():
            if name in self.totals:
                self.totals[name] += seconds
        self.restored_s += totals.get("step", 0.0)

    def wrap(self, owner: Any, method: str, phase: str) -> None:
        """Charge every call of `owner.method` to `phase`, on this instance only."""
        original = getattr(owner, method)

        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.timing(phase):
                return original(*args, **kwargs)

        setattr(owner, method, timed)


def most_beside(ranks: list[dict[str, float]]) -> dict[str, float]:
    """Seconds beside the main thread by phase, of the rank with most of each."""
    return {name: max(rank.get(name, 0.0) for rank in ranks) for name in ranks[0]}


TRAINER_METHODS = {
    "get_batch_samples": "data",
    "training_step": "forward_backward",
    "_clip_grad_norm": "optimizer",
    "_generate": "generate",
    "_calculate_rewards": "reward",
    "_save_checkpoint": "checkpoint",
    "evaluate": "evaluate",
    "log": "log",
}


def time_trainer(ledger: Ledger, trainer: Any) -> None:
    """Charge the phases of a TRL trainer by wrapping its own methods on the instance; call once, before `train`."""
    for method, phase in TRAINER_METHODS.items():
        if hasattr(trainer, method):
            ledger.wrap(trainer, method, phase)
    if getattr(trainer, "vllm_generation", None) is not None:
        ledger.wrap(trainer.vllm_generation, "sync_weights", "weight_sync")
    if getattr(trainer, "ref_model", None) is not None:
        ledger.wrap(trainer.ref_model, "forward", "ref_logprobs")


def time_engine(ledger: Ledger, trainer: Any) -> None:
    """Charge DeepSpeed's optimizer step: its engine steps inside `backward`, unheard by the trainer's callbacks."""
    engine = getattr(trainer, "deepspeed", None)
    if engine is not None:
        ledger.wrap(engine, "step", "optimizer")
