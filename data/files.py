"""Rows of a local file: JSON, JSON lines, CSV or Parquet, told apart by the file's suffix. A malformed line is
named.
"""

import csv
import json
from pathlib import Path
from typing import Any

from data.errors import UserError


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of `path` in order; UserError for a missing or malformed file and for an unknown suffix."""
    readers = {".json": _json, ".jsonl": _json_lines, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise UserError(f"{path}: suffix {path.suffix!r} is not read; use {', '.join(readers)}")
    if not path.is_file():
        raise UserError(f"{path} is not a file (looked from {Path.cwd()}); give an existing one")
    try:
        return reader(path)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}; save it as UTF-8") from error


def _json(path: Path) -> list[dict[str, Any]]:
    try:
        rows = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise UserError(
            f"{path}:{error.lineno}: {error.msg}; a .json file is one list of objects (one object a line is .jsonl)"
        ) from error
    if not isinstance(rows, list):
        raise UserError(f"{path} holds a JSON {type(rows).__name__}; it must be one list of objects")
    for number, row in enumerate(rows):
        if not isinstance(row, dict):
            raise UserError(f"{path}: element {number} is a {type(row).__name__}; every element must be an object")
    return rows


def _json_lines(path: Path) -> list[dict[str, Any]]:
    rows = []
    # Only newlines end a JSON line: str.splitlines would also break at U+2028 inside a string.
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}:{number}: {error.msg}; every line must be one JSON object") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}:{number}: a {type(row).__name__}; every line must be one JSON object")
        rows.append(row)
    return rows


def _csv(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        try:
            for row in reader:
                if None in row or None in row.values():
                    expected = len(reader.fieldnames or ())
                    raise UserError(f"{path}:{reader.line_num}: the row does not have the header's {expected} fields")
                rows.append(dict(row))
        except csv.Error as error:
            raise UserError(f"{path}:{reader.line_num}: {error}") from error
    return rows


def _parquet(path: Path) -> list[dict[str, Any]]:
    import pyarrow
    from pyarrow import parquet

    try:
        return parquet.read_table(path).to_pylist()
    except pyarrow.ArrowInvalid as error:
        raise UserError(f"{path} is not a readable Parquet file: {error}") from error
