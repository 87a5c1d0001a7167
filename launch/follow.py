"""Reading log files that others write: copying one as it grows, and its last lines."""

import codecs
from pathlib import Path
from types import TracebackType
from typing import TextIO

_TAIL_BYTES = 64 * 1024


class LogFollower:
    """Copies what is appended to a log file from now on; bytes of a character cut in two wait for the rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start = path.stat().st_size if path.exists() else 0
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def __enter__(self) -> "LogFollower":
        self._stream = self._path.open("rb")
        self._stream.seek(self._start)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def copy(self, out: TextIO) -> None:
        """Write to `out` what is new in the log."""
        text = self._decoder.decode(self._stream.read())
        if text:
            out.write(text)
            out.flush()


def tail(path: Path, lines: int) -> list[str]:
    """Return the last lines of a file, without their ends."""
    with path.open("rb") as stream:
        stream.seek(0, 2)
        stream.seek(max(0, stream.tell() - _TAIL_BYTES))
        text = stream.read().decode("utf-8", errors="replace")
    return text.splitlines()[-lines:]
