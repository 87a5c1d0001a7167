"""Reads files of JSON lines for the report: whole, from either end, or by line number; broken lines are passed over.

A long run's samples.jsonl may be larger than memory, so what the page shows of it is read from where it stands.
"""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

_BLOCK = 1 << 16


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a file, skipping a last line that is still being written; empty when absent."""
    if not path.is_file():
        return []
    found = (_row(line) for line in path.read_bytes().split(b"\n"))
    return [row for row in found if row is not None]


def first_lines(path: Path, most: int) -> list[dict[str, Any]]:
    """At most the first `most` objects of a file."""
    rows: list[dict[str, Any]] = []
    if path.is_file():
        with path.open("rb") as source:
            for line in source:
                if len(rows) == most:
                    break
                row = _row(line)
                rows += [] if row is None else [row]
    return rows


def last_lines(path: Path, most: int) -> list[dict[str, Any]]:
    """At most the last `most` objects of a file, in the file's order."""
    if not path.is_file():
        return []
    with path.open("rb") as source:
        start, tail = source.seek(0, 2), b""
        while start and tail.count(b"\n") <= most + 1:  # one may be cut by the block, one unfinished
            step = min(_BLOCK, start)
            start -= step
            source.seek(start)
            tail = source.read(step) + tail
    lines = tail.split(b"\n")
    found = (_row(line) for line in (lines[1:] if start else lines))
    return [row for row in found if row is not None][-most:]


def numbered_lines(path: Path, wanted: Collection[int]) -> dict[int, dict[str, Any]]:
    """The objects on these lines, counted from 1; what is not there or broken is left out."""
    rows: dict[int, dict[str, Any]] = {}
    if path.is_file() and wanted:
        last = max(wanted)
        with path.open("rb") as source:
            for number, line in enumerate(source, start=1):
                if number > last:
                    break
                row = _row(line) if number in wanted else None
                if row is not None:
                    rows[number] = row
    return rows


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line.decode("utf-8", "replace"))
    except json.JSONDecodeError:
        return None
    return row if isinstance(row, dict) else None
