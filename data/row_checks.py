"""What no row may hold, whatever its format: values that have no one text form or cannot be written as UTF-8.

A row is plain JSON afterwards: texts, whole and finite numbers, truth values, null, lists and objects. Dates (Parquet,
the hub) become ISO texts. Everything later, the hash of the rows and the record included, relies on it.
"""

import math
from datetime import date, time
from decimal import Decimal
from typing import Any

MAX_DEPTH = 64
"""Lists and objects inside each other; the deepest known data sets (tool schemas) stay under 20."""


class BadRow(Exception):
    """A row that cannot be used: a reason in snake_case (counted) and what exactly was found (told)."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def plain_row(row: dict[Any, Any]) -> dict[str, Any]:
    """Return `row` as plain JSON; BadRow names the first column that holds something else."""
    for column in row:
        if not isinstance(column, str):
            raise BadRow("not_plain", f"the column name {column!r} is no text")
    return {_text(name, "a column name"): _plain(value, name, 0) for name, value in row.items()}


def _plain(value: Any, column: str, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value, column)
    if value is None or isinstance(value, bool | int):
        return value
    if depth == MAX_DEPTH:
        raise BadRow("too_deep", f"{column} is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise BadRow("not_a_number", f"{column} holds {value!r}, which is no number; write null or leave it out")
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, column, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_key(key, column): _plain(item, column, depth + 1) for key, item in value.items()}
    if isinstance(value, date | time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return str(value)
    raise BadRow("not_plain", f"{column} holds a {type(value).__name__}; rows are texts, numbers, lists and objects")


def _key(key: Any, column: str) -> str:
    if not isinstance(key, str):
        raise BadRow("not_plain", f"{column} has the key {key!r}, which is no text")
    return _text(key, column)


def _text(value: str, column: str) -> str:
    """Return `value` if UTF-8 can hold it: half of a surrogate pair is no character and cannot be tokenised."""
    try:
        value.encode()
    except UnicodeEncodeError as error:
        code = ord(value[error.start])
        raise BadRow(
            "lone_surrogate",
            f"{column!a} holds U+{code:04X} at character {error.start}, half of a surrogate pair, which no UTF-8 "
            "text can hold; the text was cut inside a character",
        ) from None
    return value
