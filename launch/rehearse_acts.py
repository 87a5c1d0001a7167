"""The acts of a rehearsal: `posttrain run` started, interrupted in the middle of a stage, and started again.

USR1 goes to the runner once every rank says that it trains, so that the stage checkpoints and leaves with 75. KILL
takes rank 0 away once the first checkpoint is whole, as a crash or the kernel would.
"""

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from launch.end_process import end_process
from launch.ranks import Patience
from launch.run import say
from training.checkpoint import committed
from training.config import TRAINING_KINDS
from training.exit_codes import PREEMPTED
from training.plan import PlannedStage, RunPlan
from training.rank_state import read_rank_states
from training.record import RECORD_NAME

POLL_S = 0.01
END_WITHIN_S = 2 * Patience.grace_s
"""How long a runner may take after each of two TERMs: after the second it kills its ranks itself within half of it."""
How = Literal["USR1", "KILL"]


@dataclass(frozen=True)
class Interruption:
    """What was done to a stage, and the newest whole checkpoint it left; None: it started again."""

    stage: str
    how: How
    checkpoint: str | None


@dataclass(frozen=True)
class Act:
    """One start of the command: its exit code, its seconds, and what ended it early, if anything did."""

    code: int
    seconds: float
    interruption: Interruption | None


def perform(command: Sequence[str], environment: Mapping[str, str], saboteur: "Saboteur") -> list[Act]:
    """Run the command until it ends by itself, and again each time that the saboteur has interrupted it."""
    acts: list[Act] = []
    while True:
        started = time.monotonic()
        process = subprocess.Popen(command, env=dict(environment), stdin=subprocess.DEVNULL)
        code = wait_for(process, saboteur)
        interruption = saboteur.outcome(code)
        acts.append(Act(code, time.monotonic() - started, interruption))
        if interruption is None:
            return acts
        say(f"rehearse: {interruption.stage} was interrupted ({interruption.how}); the command is repeated")


def wait_for(process: "subprocess.Popen[bytes]", saboteur: "Saboteur") -> int:
    """Wait for the runner; a Ctrl-C or TERM of ours reaches it before it travels on, and what hangs then is killed."""
    try:
        while (code := process.poll()) is None:
            saboteur.look(process.pid)
            time.sleep(POLL_S)
        return code
    finally:
        if process.poll() is None:
            end_process(process, END_WITHIN_S, terms=2)  # after a KILL DeepSpeed's buffers stay in shared memory


class Saboteur:
    """Interrupts one training stage after the other in the ways still to be shown, each stage at most once.

    A stage that ends before the signal reaches it leaves its interruption to the next.
    """

    def __init__(self, plan: RunPlan, processes: int, hows: list[How]) -> None:
        self.stages = [stage for stage in plan.stages if stage.kind in TRAINING_KINDS and stage.kind != "reward_model"]
        self.processes = processes
        self.hows = hows
        self.struck: PlannedStage | None = None
        self._tried: set[str] = set()

    def look(self, runner: int) -> None:
        """Interrupt the stage that runs now if it has come far enough; `runner` is the runner's pid."""
        stage = next((each for each in self.stages if not (each.folder / RECORD_NAME).is_file()), None)
        if not self.hows or stage is None or stage.name in self._tried:
            return
        states = read_rank_states(stage.folder)
        if self.hows[0] == "USR1" and _all_train(states, self.processes):
            os.kill(runner, signal.SIGUSR1)
        elif self.hows[0] == "KILL" and states and committed(stage.folder / "checkpoints"):
            os.kill(states[0]["pid"], signal.SIGKILL)
        else:
            return
        self._tried.add(stage.name)
        self.struck = stage

    def outcome(self, code: int) -> Interruption | None:
        """What ended an act that left with `code`; None if nothing of ours did."""
        stage, self.struck = self.struck, None
        if stage is None or code == 0 or (stage.folder / RECORD_NAME).is_file():
            return None
        how = self.hows[0]
        if how == "USR1" and code != PREEMPTED:
            return None
        self.hows.pop(0)
        whole = committed(stage.folder / "checkpoints")
        return Interruption(stage.name, how, whole[-1].name if whole else None)


def _all_train(states: list[dict[str, object]], processes: int) -> bool:
    return len(states) == processes and all(state["phase"] == "train" and not state["outcome"] for state in states)
