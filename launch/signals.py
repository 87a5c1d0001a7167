"""Signals that reach the runner while it has ranks, kept for its loop to act on.

HUP, the end of the terminal, counts as a TERM, unless whoever started us had it ignored (`nohup`).
"""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from training.exit_codes import PREEMPTED

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP)
ONE_DELIVERY_S = 1.0
"""A TERM or USR1 so soon after the same one is the same one: Slurm may signal a job's script and its steps at once."""


class SignalInbox:
    """Collect TERM, INT, USR1 and HUP for a `with` block; the handlers that were there before come back afterwards."""

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []
        self._unread: list[signal.Signals] = []
        self._last: dict[signal.Signals, float] = {}
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "SignalInbox":
        for number in FORWARDED:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        received = signal.SIGTERM if number == signal.SIGHUP else signal.Signals(number)
        now = time.monotonic()
        if received != signal.SIGINT and now - self._last.get(received, -ONE_DELIVERY_S) < ONE_DELIVERY_S:
            return
        self._last[received] = now
        self.note(received)

    def note(self, number: signal.Signals) -> None:
        """Put a signal in as if it had been sent: the end of the run's time acts as one."""
        self.received.append(number)
        self._unread.append(number)

    def take(self) -> list[signal.Signals]:
        """Return the signals that came since the last call."""
        unread, self._unread = self._unread, []
        return unread


@contextmanager
def orderly_end() -> Iterator[None]:
    """Inside, TERM and HUP raise SystemExit(75) and INT KeyboardInterrupt, so that `with` and `finally` clean up.

    Whatever comes after the first is not heeded: it would cut the cleaning up short. Main thread only.
    """
    numbers = [number for number in FORWARDED if number != signal.SIGUSR1]
    before = {number: handler for number in numbers if (handler := signal.getsignal(number)) != signal.SIG_IGN}

    def end(number: int, frame: FrameType | None) -> None:
        for each in before:
            signal.signal(each, lambda number, frame: None)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(PREEMPTED)

    try:
        for number in before:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
