"""Signals that reach the runner while it has ranks, kept for its loop to act on."""

import signal
from types import FrameType, TracebackType
from typing import Any

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class SignalInbox:
    """Collect TERM, INT and USR1 for a `with` block; the handlers that were there before come back afterwards."""

    def __init__(self) -> None:
        self.received: list[signal.Signals] = []
        self._unread: list[signal.Signals] = []
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "SignalInbox":
        for number in FORWARDED:
            self._before[number] = signal.signal(number, self._keep)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.received.append(signal.Signals(number))
        self._unread.append(signal.Signals(number))

    def take(self) -> list[signal.Signals]:
        """Return the signals that came since the last call."""
        unread, self._unread = self._unread, []
        return unread
