"""How the ranks of a stage ended: one exit code for all of them, and what to say about a failure."""

import json
import signal
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from launch.follow import tail
from training.exit_codes import FAILED, INTERRUPTED, PREEMPTED, ROLLED_BACK, STOPPED, USER_ERROR

TAIL_LINES = 30


@dataclass(frozen=True)
class Failure:
    """The rank that failed first: its number, exit code (negative: the signal), log, and when (seconds since 1970)."""

    number: int
    code: int
    log_path: Path
    at: float = 0.0

    def is_preemption(self, signals: list[signal.Signals]) -> bool:
        """Whether it left as told: with 75, or by a signal passed on before its handler was there."""
        return self.code == PREEMPTED or -self.code in signals


@dataclass(frozen=True)
class Halt:
    """A reason to end the ranks that is not an exit code of theirs: what found it, in words, and the code it gives.

    The ranks get `grace_s` seconds after a TERM; 0 kills them, for ranks that cannot hear one. `elsewhere` marks the
    end of ranks whose peers on another node tell the reason.
    """

    code: int
    message: str
    grace_s: float = 0.0
    elsewhere: bool = False


@dataclass(frozen=True)
class RanksEnd:
    """How the ranks ended: the exit code of each, the one that failed first, the signals sent to us, a halt."""

    codes: dict[int, int]
    failed: Failure | None = None
    signals: list[signal.Signals] = field(default_factory=list)
    halt: Halt | None = None

    @property
    def code(self) -> int:
        """One exit code for all: what the user can fix (2) before what a detector found (4) before failure (1)."""
        if signal.SIGINT in self.signals:
            return INTERRUPTED
        if self.halt is not None and not self.halt.elsewhere:
            return self.halt.code
        codes = self.codes.values()
        if not any(codes):
            return PREEMPTED if self.signals else 0
        for code in (USER_ERROR, STOPPED, ROLLED_BACK):
            if code in codes:
                return PREEMPTED if code == ROLLED_BACK and self.signals else code
        return PREEMPTED if self.failed is not None and self.failed.is_preemption(self.signals) else FAILED


def write_end(path: Path, end: RanksEnd) -> None:
    """Write how the ranks of one node ended, whole or not at all."""
    content = {
        "codes": end.codes,
        "failed": None if end.failed is None else {**asdict(end.failed), "log_path": str(end.failed.log_path)},
        "signals": [number.name for number in end.signals],
        "halt": None if end.halt is None else asdict(end.halt),
    }
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(content))
    temporary.replace(path)


def read_end(path: Path) -> RanksEnd | None:
    """Return what `write_end` wrote, or None where it has not yet."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    failed = content["failed"]
    return RanksEnd(
        {int(rank): code for rank, code in content["codes"].items()},
        None if failed is None else Failure(**{**failed, "log_path": Path(failed["log_path"])}),
        [signal.Signals[name] for name in content["signals"]],
        None if content["halt"] is None else Halt(**content["halt"]),
    )


def together(ends: Iterable[RanksEnd], signals: list[signal.Signals]) -> RanksEnd:
    """Join the ends of all nodes; the failure is the earliest, the signals are those the runner itself was sent."""
    ends = list(ends)
    failures = [end.failed for end in ends if end.failed is not None]
    return RanksEnd(
        {rank: code for end in ends for rank, code in end.codes.items()},
        min(failures, key=lambda failure: failure.at, default=None),
        signals,
        next((end.halt for end in ends if end.halt is not None and not end.halt.elsewhere), None),
    )


def failure_text(end: RanksEnd, stage: str) -> str | None:
    """Return what to print about a failure: which rank, how, and the end of its log unless it was shown already.

    None where nothing needs saying: success, a stop that was asked for, or a message rank 0 printed itself.
    """
    failed = end.failed
    if end.halt is not None and end.code == end.halt.code:
        return f"{stage}: {end.halt.message}"
    if failed is None or end.code in (0, PREEMPTED, INTERRUPTED):
        return None
    if failed.number == 0:
        ended = how_it_ended(failed.code)
        told = failed.code in (USER_ERROR, STOPPED, ROLLED_BACK)
        return None if told else f"{stage}: rank 0 {ended}; log: {failed.log_path}"
    lines = "".join(f"  | {line}\n" for line in tail(failed.log_path, TAIL_LINES))
    return f"{stage}: rank {failed.number} {how_it_ended(failed.code)}; the end of {failed.log_path}:\n{lines.rstrip()}"


def how_it_ended(code: int | None) -> str:
    """Say an exit code in words; a negative one is a signal."""
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = " (the kernel kills so when memory runs out)" if name == "SIGKILL" else ""
        return f"was killed by {name}{hint}"
    return f"failed with exit code {code}"
