"""Progress of long work as plain lines with an ETA: one at most every few seconds, on rank 0 only."""

import time
from collections.abc import Callable, Mapping

LINE_EVERY_S = 5.0


def duration(seconds: float) -> str:
    """Seconds as people say them: 48 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 99.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


class Progress:
    """Counts units of work (`steps`, `rows`) and prints how far they are; the ETA is from the rate so far."""

    def __init__(self, label: str, shown: bool, unit: str = "step", write: Callable[[str], None] | None = None):
        self.label, self.unit, self.shown = label, unit, shown
        self._write = write or (lambda line: print(line, flush=True))
        self.start(0, 0)

    def start(self, done: int, total: int) -> None:
        """Begin at `done` of `total` units."""
        self._first, self.done, self.total = done, done, total
        self._started = time.monotonic()
        self._printed = 0.0

    @property
    def eta_s(self) -> float | None:
        """Seconds left at the rate so far; None before the first unit."""
        finished = self.done - self._first
        if finished <= 0:
            return None
        return (time.monotonic() - self._started) / finished * (self.total - self.done)

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
        if self.eta_s is not None:
            parts.append(
                f"ETA {duration(self.eta_s)}" if done < self.total else f"took {duration(now - self._started)}"
            )
        self._write("  ".join(parts))

    def advance(self, units: int) -> None:
        """Note `units` more finished."""
        self.step(self.done + units)
