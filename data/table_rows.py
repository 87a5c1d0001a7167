"""Rows of tables, one at a time: CSV (all values are texts) and Parquet (in batches)."""

import csv
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.json_rows import MAX_ROW_BYTES, Read, lines
from data.row_checks import BadRow

_BATCH_ROWS = 512


def csv_rows(file: BufferedIOBase, name: str) -> Iterator[Read]:
    """Yield the rows under the header, each with the line it ends on; a quoted field may hold line ends."""
    csv.field_size_limit(MAX_ROW_BYTES)
    # What is not UTF-8 must not end the iteration: it comes out as lone surrogates, which are looked for below.
    reader = csv.reader((line.decode("utf-8", "surrogateescape") for line in lines(file, name)), strict=True)
    header = _header(reader, name)
    while True:
        try:
            fields = next(reader, None)
        except csv.Error as error:
            yield reader.line_num, BadRow("not_csv", f"{error}; check the quotes of this row")
            continue
        if fields is None:
            return
        if fields:
            yield reader.line_num, _record(header, fields)


def _header(reader: Any, name: str) -> list[str]:
    try:
        header: list[str] = next(reader, [])
    except csv.Error as error:
        raise UserError(f"{name}:{reader.line_num}: {error}; the first row must name the columns") from error
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise UserError(f"{name}:1: the header names the column {twice[0]!r} twice; rename one")
    return header


def _record(header: list[str], fields: list[str]) -> dict[str, Any] | BadRow:
    if len(fields) != len(header):
        return BadRow("not_csv", f"the row has {len(fields)} fields, not the header's {len(header)} fields")
    for field in fields:
        if not field.isascii() and any("\udc80" <= character <= "\udcff" for character in field):
            return BadRow("not_utf8", "the row is not UTF-8 text; save the file as UTF-8")
    return dict(zip(header, fields, strict=True))


def parquet_rows(path: Path) -> Iterator[Read]:
    """Yield the rows of a Parquet file; UserError for a file that is none or is cut."""
    import pyarrow
    from pyarrow import parquet

    try:
        with parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=_BATCH_ROWS):
                yield from ((None, row) for row in _records(batch))
    except (pyarrow.ArrowException, OSError) as error:
        raise UserError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from error


def _records(batch: Any) -> list[dict[str, Any] | BadRow]:
    try:
        return batch.to_pylist()
    except (UnicodeDecodeError, ValueError):
        if batch.num_rows > 1:
            return [row for index in range(batch.num_rows) for row in _records(batch.slice(index, 1))]
        return [BadRow("not_plain", "the row holds a value that Python cannot read, such as text that is not UTF-8")]
