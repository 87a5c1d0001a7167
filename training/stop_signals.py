"""TERM and USR1 as a rank hears them: also while its main thread waits inside a collective.

Python runs its own handlers in the main thread, between two instructions: a rank whose peers are gone would never hear
a thing. The interpreter's wake-up descriptor is written by the kernel's handler itself, and a thread reads it here.
"""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from training.exit_codes import PREEMPTED

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
ONE_DELIVERY_S = 1.0
"""Signals so close together are one request: Slurm may signal a rank beside the starter that passes its signal on."""


class StopSignals:
    """Notes the first signal while `patient`; leaves with 75 at a second one, or at the first while not patient.

    Leaving at once corrupts nothing: records, manifests and state files are renamed into place whole.
    """

    def __init__(self) -> None:
        self.patient = False
        self.first: signal.Signals | None = None
        self.first_at = 0.0
        self.before_leaving: Callable[[str], None] = lambda message: None
        self._before: dict[signal.Signals, Any] = {}

    def listen(self) -> None:
        """Install the handlers; main thread only."""
        self._reader, self._writer = socket.socketpair()
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {number: signal.signal(number, self._note) for number in STOP_SIGNALS}
        threading.Thread(target=self._hear, daemon=True, name="stop-signals").start()

    def close(self, process_ends: bool = False) -> None:
        """Put back the handlers that were there before; a process about to end ignores a signal that comes late.

        Else the default action kills a rank on its way out, and its starter takes a preempted stage for a failed one.
        """
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_IGN if process_ends else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._writer.close()

    @property
    def signalled(self) -> bool:
        """Whether a signal came."""
        return self.first is not None

    @property
    def waited_s(self) -> float:
        """Seconds since the first signal."""
        return time.monotonic() - self.first_at if self.first is not None else 0.0

    def _note(self, number: int, frame: FrameType | None) -> None:
        """The main thread's part: known before the next instruction, so no step is begun that need not be."""
        self._first_is(signal.Signals(number))

    def _first_is(self, number: signal.Signals) -> None:
        if self.first is None:
            self.first_at, self.first = time.monotonic(), number

    def _hear(self) -> None:
        while numbers := self._reader.recv(64):
            for number in numbers:
                if number in STOP_SIGNALS:
                    self._receive(signal.Signals(number))
        self._reader.close()

    def _receive(self, number: signal.Signals) -> None:
        self._first_is(number)
        if not self.patient:
            self._leave(f"{number.name} before there was anything to checkpoint")
        if self.waited_s >= ONE_DELIVERY_S:
            self._leave(f"a second signal ({number.name}), {self.waited_s:.1f} s after the first: left at once")

    def _leave(self, message: str) -> None:
        self.before_leaving(message)
        print(message, file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(PREEMPTED)
