"""Standard output that may go away: `posttrain run ... | head`, or a terminal that is closed. The run goes on.

Everything said is in the run folder too: the ranks' logs, the records, the report.
"""

import os
import sys
from typing import TextIO


class Outlet:
    """Writes to a stream until its reader is gone, and to nothing from then on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write text; returns its length."""
        try:
            return self._stream.write(text)
        except OSError:
            self._close()
            return len(text)

    def flush(self) -> None:
        """Hand on what was written."""
        try:
            self._stream.flush()
        except OSError:
            self._close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def _close(self) -> None:
        """Let the stream's descriptor lead nowhere: what its buffer still holds would raise again at the end."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def outlive_reader() -> None:
    """Let this process's output and errors be outlets from here on."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, Outlet):
            setattr(sys, name, Outlet(stream))
