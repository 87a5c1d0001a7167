"""Progress of long work as plain lines with an ETA: one at most every few seconds, on rank 0 only."""

import re
import time
from collections.abc import Callable, Mapping

from training.eta import Eta, StepTimes

LINE_EVERY_S = 5.0
PROGRESS_LINE = re.compile(r"\S+  [a-z]+ \d+/\d+(  .*)?")
"""What a line of `Progress` looks like: a terminal that draws a bar leaves them out."""


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def utc_words(moment: object) -> str:
    """A time of a record or a lock, ISO 8601 in UTC, to the minute: `2026-11-22 04:40 UTC`."""
    return f"{str(moment)[:16].replace('T', ' ')} UTC"


def eta_words(likely_s: float, low_s: float, high_s: float) -> str:
    """`ETA 3 min 20 s (3 min 05 s to 3 min 50 s)`; without a range where both ends read alike."""
    low, high = duration(low_s), duration(high_s)
    return f"ETA {duration(likely_s)}" + (f" ({low} to {high})" if low != high else "")


class Progress:
    """Counts units of work (`steps`, `rows`) and prints how far they are.

    The ETA is from the ledger of the steps that `note` told of, else from the rate so far.
    """

    def __init__(self, label: str, shown: bool, unit: str = "step", write: Callable[[str], None] | None = None):
        self.label, self.unit, self.shown = label, unit, shown
        self._write = write or (lambda line: print(line, flush=True))
        self.start(0, 0)

    def start(self, done: int, total: int) -> None:
        """Begin at `done` of `total` units."""
        self._first, self.done, self.total = done, done, total
        self._started = time.monotonic()
        self._printed = 0.0
        self._steps = StepTimes()

    def note(self, timing: Mapping[str, float]) -> None:
        """Hear of a step's seconds by phase, as `Ledger.end_step` returns them."""
        self._steps.note(timing)

    @property
    def eta(self) -> Eta | None:
        """What is left; None before the first unit."""
        finished, left = self.done - self._first, self.total - self.done
        by_steps = self._steps.eta(left)
        if by_steps is not None or finished <= 0:
            return by_steps
        seconds = (time.monotonic() - self._started) / finished * left
        return Eta(seconds, seconds, seconds)

    def step(self, done: int, metrics: Mapping[str, float] | None = None, tokens_per_s: float | None = None) -> None:
        """Note that `done` units are finished; prints unless a line came less than five seconds ago."""
        self.done = done
        now = time.monotonic()
        if not self.shown or (now - self._printed < LINE_EVERY_S and done < self.total):
            return
        self._printed = now
        parts = [f"{self.label}  {self.unit} {done}/{self.total}"]
        parts += [f"{name} {value:.4g}" for name, value in (metrics or {}).items()]
        if tokens_per_s is not None:
            parts.append(f"{tokens_per_s:.0f} tokens/s")
        eta = self.eta
        if done >= self.total:
            parts.append(f"took {duration(now - self._started)}")
        elif eta is not None:
            parts.append(eta_words(*eta))
        self._write("  ".join(parts))

    def advance(self, units: int) -> None:
        """Note `units` more finished."""
        self.step(self.done + units)
