"""Starts the ranks of a stage as children and answers for them: environment, logs, signals, exit code, no orphans.

Every rank writes its output straight into its log file, so a killed runner breaks no rank's pipe; rank 0's log is
copied to our stdout as it grows. TERM and USR1 are forwarded to the ranks, which checkpoint and leave with 75; INT
reaches them as TERM, so that Ctrl-C loses nothing either, and a second one kills. When one rank fails the others are
ended, because they would wait for it in a collective for ever.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from launch.follow import LogFollower, tail
from launch.signals import SignalInbox

POLL_S = 0.1
SETTLE_S = 3.0
"""After a rank has failed the others may be about to say the same; they get this long before they are told to end."""
GRACE_S = 15.0
"""From being told to end (another rank failed) to being killed."""
STOP_GRACE_S = 300.0
"""From a forwarded TERM or INT to being killed: a rank finishes its step and writes a checkpoint."""
TAIL_LINES = 30
PREEMPTED = 75
INTERRUPTED = 130
_PR_SET_PDEATHSIG = 1


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


@dataclass(frozen=True)
class RanksEnd:
    """How the ranks ended: the exit code of the whole, the rank that failed first, the signals we were sent."""

    code: int
    failed: Rank | None
    signals: list[signal.Signals]


def run_ranks(
    command: Sequence[str],
    environments: Sequence[Mapping[str, str]],
    log_path: Callable[[int], Path],
    inherit: Sequence[int] = (),
    *,
    settle_s: float = SETTLE_S,
    grace_s: float = GRACE_S,
    stop_grace_s: float = STOP_GRACE_S,
) -> RanksEnd:
    """Run `command` once per environment and wait until every rank has ended; no child outlives this call.

    `inherit` are file descriptors every rank keeps open (the run lock). Must be called on the main thread.
    """
    ranks: list[Rank] = []
    with SignalInbox() as inbox:
        try:
            follower = LogFollower(log_path(0))
            for number, environment in enumerate(environments):
                ranks.append(_start(number, command, environment, log_path(number), inherit))
            with follower:
                failed = _supervise(ranks, inbox, follower, settle_s, grace_s, stop_grace_s)
        finally:
            for rank in ranks:
                rank.kill()
        return RanksEnd(_whole_code([rank.code or 0 for rank in ranks], failed, inbox.received), failed, inbox.received)


def _start(
    number: int, command: Sequence[str], environment: Mapping[str, str], log_path: Path, inherit: Sequence[int]
) -> Rank:
    log_path.parent.mkdir(parents=True, exist_ok=True)
    libc = ctypes.CDLL(None)

    def die_with_runner() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    with log_path.open("ab") as log:
        process = _popen(command, environment, log, inherit, die_with_runner)
    return Rank(number, process, log_path)


def _popen(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: BinaryIO,
    inherit: Sequence[int],
    in_child: Callable[[], None],
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=in_child,
        pass_fds=tuple(inherit),
    )


def _supervise(
    ranks: list[Rank],
    inbox: SignalInbox,
    follower: LogFollower,
    settle_s: float,
    grace_s: float,
    stop_grace_s: float,
) -> Rank | None:
    """Wait for every rank; returns the one that failed first, if any."""
    failed: Rank | None = None
    end_at = kill_at = float("inf")
    while any(rank.code is None for rank in ranks):
        time.sleep(POLL_S)
        now = time.monotonic()
        for number in inbox.take():
            for rank in ranks:
                rank.signal(signal.SIGTERM if number == signal.SIGINT else number)
            if number != signal.SIGUSR1:
                again = sum(seen != signal.SIGUSR1 for seen in inbox.received) > 1
                kill_at = now if again else min(kill_at, now + stop_grace_s)
            if number == signal.SIGINT and now < kill_at:
                print("stopping: the step is finished and a checkpoint written; Ctrl-C again kills", flush=True)
        for rank in ranks:
            if rank.poll() and rank.code and failed is None:
                failed = rank
                end_at = now + (stop_grace_s if rank.code == PREEMPTED else settle_s)
        if now >= end_at:
            end_at, kill_at = float("inf"), min(kill_at, now + grace_s)
            for rank in ranks:
                rank.signal(signal.SIGTERM)
        if now >= kill_at:
            for rank in ranks:
                rank.kill()
        follower.copy(sys.stdout)
    follower.copy(sys.stdout)
    return failed


def _whole_code(codes: list[int], failed: Rank | None, received: list[signal.Signals]) -> int:
    """One exit code for all ranks: what the user can fix (2) before what a detector found (4) before failure (1)."""
    if signal.SIGINT in received:
        return INTERRUPTED
    if not any(codes):
        return PREEMPTED if received else 0
    for code in (2, 4):
        if code in codes:
            return code
    return PREEMPTED if failed is not None and failed.code == PREEMPTED else 1


def failure_text(end: RanksEnd, stage: str) -> str | None:
    """Return what to print about a failure: which rank, how, and the end of its log unless it was shown already.

    None where nothing needs saying: success, a stop that was asked for, or a message rank 0 printed itself.
    """
    failed = end.failed
    if failed is None or end.code in (0, PREEMPTED, INTERRUPTED):
        return None
    if failed.number == 0:
        return None if failed.code in (2, 4) else f"{stage}: rank 0 {how_it_ended(failed.code)}; log: {failed.log_path}"
    lines = "".join(f"  | {line}\n" for line in tail(failed.log_path, TAIL_LINES))
    return f"{stage}: rank {failed.number} {how_it_ended(failed.code)}; the end of {failed.log_path}:\n{lines.rstrip()}"


def how_it_ended(code: int | None) -> str:
    """Say an exit code in words; a negative one is a signal."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the kernel kills so when memory runs out)" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    return f"failed with exit code {code}"
