"""Starts ranks as children and answers for them: environment, logs, signals, exit codes, no orphans.

Every rank writes its output straight into its log file, so a killed runner breaks no rank's pipe; rank 0's log is
copied to our stdout as it grows. TERM and USR1 are forwarded to the ranks, which checkpoint and leave with 75; INT
reaches them as TERM, so that Ctrl-C loses nothing either. A second signal is forwarded too and ends them at once. When
one rank fails the others are ended, because they would wait for it in a collective for ever.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from launch.follow import LogFollower
from launch.fork_server import through_fork_server
from launch.ranks_end import Failure, Halt, RanksEnd
from launch.signals import SignalInbox

POLL_S = 0.1
_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Patience:
    """How long ranks are waited for, in seconds.

    `settle_s`: after a rank has failed the others may be about to say the same; then they are told to end. `grace_s`:
    from being told to end, or a second signal, to being killed. `stop_grace_s`: from a first TERM, USR1 or INT to being
    killed: a rank finishes its step and writes a checkpoint.
    """

    settle_s: float = 3.0
    grace_s: float = 15.0
    stop_grace_s: float = 300.0


@dataclass
class Rank:
    """One child: its number, process, log file and, once it has ended, its exit code (negative: the signal)."""

    number: int
    process: subprocess.Popen[bytes]
    log_path: Path
    code: int | None = None

    def signal(self, number: int) -> None:
        """Signal the rank alone: its data workers must live on while it writes a checkpoint."""
        if self.code is None:
            os.kill(self.process.pid, number)

    def poll(self) -> bool:
        """Return whether the rank ended since the last call; what it left in its process group is killed then."""
        if self.code is not None:
            return False
        if os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return False
        self._kill_group()
        self.code = self.process.wait()
        return True

    def kill(self) -> None:
        """Kill the rank and its process group."""
        if self.code is None:
            self._kill_group()
            self.code = self.process.wait()

    def _kill_group(self) -> None:
        """Not yet waited for, the leader keeps its group's number: this cannot hit another process."""
        os.killpg(self.process.pid, signal.SIGKILL)


Watch = Callable[[Sequence[Rank]], Halt | None]
"""Looks at the ranks every tenth of a second and may find a reason to end them."""


def run_ranks(
    command: Sequence[str],
    environments: Sequence[Mapping[str, str]],
    log_path: Callable[[int], Path],
    inherit: Sequence[int] = (),
    watches: Sequence[Watch] = (),
    end_time: float | None = None,
    patience: Patience = Patience(),
) -> RanksEnd:
    """Run `command` once per environment and wait until every rank has ended; no child outlives this call.

    A rank's number is its environment's RANK, else its place. `inherit` are file descriptors every rank keeps open (the
    run lock). At `end_time` (seconds since 1970) the ranks are stopped as by a TERM. Main thread only.
    """
    numbers = [int(environment.get("RANK", place)) for place, environment in enumerate(environments)]
    ranks: list[Rank] = []
    with SignalInbox() as inbox:
        try:
            follower = LogFollower(log_path(numbers[0]))
            for number, environment in zip(numbers, environments, strict=True):
                ranks.append(_start(number, command, environment, log_path(number), inherit))
            with follower:
                supervisor = _Supervisor(ranks, inbox, watches, patience, end_time or float("inf"))
                while supervisor.tend():
                    time.sleep(POLL_S)
                    if numbers[0] == 0:
                        follower.copy(sys.stdout)
                if numbers[0] == 0:
                    follower.copy(sys.stdout)
        finally:
            for rank in ranks:
                rank.kill()
        codes = {rank.number: rank.code or 0 for rank in ranks}
        return RanksEnd(codes, supervisor.failed, inbox.received, supervisor.halt)


def _start(
    number: int, command: Sequence[str], environment: Mapping[str, str], log_path: Path, inherit: Sequence[int]
) -> Rank:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            through_fork_server(command, environment),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ended_with_us(signal.SIGTERM),
            pass_fds=tuple(inherit),
        )
    return Rank(number, process, log_path)


def ended_with_us(number: signal.Signals) -> Callable[[], None]:
    """Return what a child calls before it becomes another program, to be sent `number` when this process dies."""
    libc = ctypes.CDLL(None)

    def ask_the_kernel() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, number)

    return ask_the_kernel


@dataclass
class _Supervisor:
    """Decides, ten times a second, what the ranks are told."""

    ranks: list[Rank]
    inbox: SignalInbox
    watches: Sequence[Watch]
    patience: Patience
    end_time: float
    failed: Failure | None = None
    halt: Halt | None = None
    tell_at: float = field(default=float("inf"), init=False)
    kill_at: float = field(default=float("inf"), init=False)

    def tend(self) -> bool:
        """Do what is due; returns whether a rank is left."""
        self._hear()
        self._count_ends()
        if self.halt is None and self.kill_at == float("inf"):
            self._look()
        now = time.monotonic()
        if now >= self.tell_at:
            self.tell_at = float("inf")
            self._tell(signal.SIGTERM)
        if now >= self.kill_at:
            for rank in self.ranks:
                rank.kill()
        return any(rank.code is None for rank in self.ranks)

    def _hear(self) -> None:
        """Forward the signals that came; the second starts the last grace."""
        if time.time() >= self.end_time:
            self.end_time = float("inf")
            print("stopping: the run's time is over", flush=True)
            self.inbox.note(signal.SIGTERM)
        for number in self.inbox.take():
            self._tell(signal.SIGTERM if number == signal.SIGINT else number)
            if len(self.inbox.received) > 1:
                self._kill_within(0 if number == signal.SIGINT else self.patience.grace_s)
            elif number != signal.SIGUSR1:  # who sends USR1 gives as long as the step takes
                self._kill_within(self.patience.stop_grace_s)
            if self.inbox.received == [signal.SIGINT]:
                print("stopping: the step is finished and a checkpoint written; Ctrl-C again kills", flush=True)

    def _count_ends(self) -> None:
        for rank in self.ranks:
            if rank.poll() and rank.code and self.failed is None:
                self.failed = Failure(rank.number, rank.code, rank.log_path, time.time())
                self._end_the_others(self.failed.is_preemption(self.inbox.received))

    def _end_the_others(self, preempted: bool) -> None:
        """They are told after a moment, unless a signal of ours has told them before."""
        if not (preempted and self.inbox.received):
            self.tell_at = time.monotonic() + self.patience.settle_s
        self._kill_within(self.patience.stop_grace_s if preempted else self.patience.settle_s + self.patience.grace_s)

    def _look(self) -> None:
        for watch in self.watches:
            self.halt = self.halt or watch(self.ranks)
        if self.halt is not None:
            if self.halt.grace_s:
                self._tell(signal.SIGTERM)
            self._kill_within(self.halt.grace_s)

    def _tell(self, number: signal.Signals) -> None:
        for rank in self.ranks:
            rank.signal(number)

    def _kill_within(self, seconds: float) -> None:
        self.kill_at = min(self.kill_at, time.monotonic() + seconds)
