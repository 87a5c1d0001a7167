"""Files of JSON lines: read while another process writes them, written whole, and appended to across crashes."""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a file that others may be writing, without an unfinished last line; [] if absent."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1] if line]


def lines_below(folder: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of every .jsonl file in a folder, file by file in order of name; none where it is absent."""
    for path in sorted(folder.glob("*.jsonl")):
        yield from whole_lines(path)


def write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    with temporary.open("w", encoding="utf-8") as sink:
        for row in rows:
            sink.write(json.dumps(row, ensure_ascii=False) + "\n")
    temporary.replace(path)


class Appender:
    """Appends lines to a file of this process's own; what a killed process left of a line is cut off first."""

    def __init__(self, path: Path) -> None:
        """Nothing is made until the first `add`."""
        self._path = path
        self._sink: IO[bytes] | None = None

    def add(self, row: dict[str, Any], to_disk: bool = False) -> None:
        """Write a line, where others can read it; with `to_disk` it outlives the machine when this returns."""
        if self._sink is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            _cut_unfinished_line(self._path)
            self._sink = self._path.open("ab")
        # half of a surrogate pair, which UTF-8 cannot hold, stands as JSON's own escape
        self._sink.write((json.dumps(row, ensure_ascii=False) + "\n").encode("utf-8", "backslashreplace"))
        self._sink.flush()
        if to_disk:
            os.fsync(self._sink.fileno())

    def close(self) -> None:
        """Close the file."""
        if self._sink is not None:
            self._sink.close()
            self._sink = None


def _cut_unfinished_line(path: Path) -> None:
    if not path.is_file() or not path.stat().st_size:
        return
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        if file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)
