"""Rows of local files, one at a time: JSON, JSON lines, CSV and Parquet, compressed or not, and folders of them.

The suffix says what a file is (.jsonl, .csv.gz, .json.zst). Owns what is wrong with a file as a whole: missing, not
readable, cut. What is wrong with one row is handed on as a `BadRow` in its place.
"""

import gzip
import io
import zlib
from collections.abc import Callable, Iterator
from io import BufferedIOBase
from pathlib import Path
from typing import Any, cast

from data.errors import UserError
from data.json_rows import Read, json_lines, json_list, text_document
from data.row_checks import BadRow
from data.table_rows import csv_rows, parquet_rows

READERS: dict[str, Callable[[BufferedIOBase, str], Iterator[Read]]] = {
    ".json": json_list,
    ".jsonl": json_lines,
    ".csv": csv_rows,
    ".txt": text_document,
}
SUFFIXES = (*READERS, ".parquet")
COMPRESSIONS = (".gz", ".zst")
SAMPLE_ROWS = "data.jsonl"
"""The file in which a `sample` stage leaves the rows it kept."""

_DOCUMENTS = (".md", ".txt", ".rst")
_DOCUMENT_NAMES = ("license", "licence", "copying", "notice", "readme")


def data_files(path: Path) -> list[Path]:
    """Return the files that `path` stands for: itself, a finished stage's rows, or a folder's files by name.

    Hidden files and documents (README, LICENSE, .md, .txt) of a folder are no data, unless it holds texts alone; any
    other file that is not read is a UserError, as is a folder without data: nothing is left out in silence.
    """
    if not path.is_dir():
        return [_existing(path)]
    if (path / "record.json").is_file():
        if not (path / SAMPLE_ROWS).is_file():
            raise UserError(f"{path} is an artifact without {SAMPLE_ROWS}; only a `sample` stage leaves rows")
        return [path / SAMPLE_ROWS]
    inside = [file for file in path.rglob("*") if file.is_file()]
    files = sorted(file for file in inside if not _is_document(file.relative_to(path)))
    files = files or sorted(file for file in inside if _is_text(file.relative_to(path)))
    for file in files:
        _kind(file)
    if not files:
        raise UserError(f"{path} holds no data files; use {', '.join(SUFFIXES)}, each also with .gz or .zst")
    return files


def file_rows(path: Path, name: str) -> Iterator[Read]:
    """Yield (line, row or BadRow) of one file; `name` is what messages call it.

    UserError for what no row can be blamed for: a missing file, an unknown suffix, a cut compression or Parquet file.
    """
    suffix, compression = _kind(_existing(path))
    if suffix == ".parquet":
        yield from parquet_rows(path)
        return
    line: int | None = None
    try:
        with _opened(path, compression) as file:
            for line, row in READERS[suffix](file, name):
                yield line, row
    except (EOFError, zlib.error, OSError) as error:
        after = f" after line {line}" if line else ""
        what = f"cut or broken {compression} data" if compression else "it cannot be read"
        raise UserError(f"{name}: {what}{after} ({error}); fetch or compress the file again") from error


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file in order; UserError with file and line for the first that is bad."""
    rows = []
    for number, (line, row) in enumerate(file_rows(path, str(path))):
        if isinstance(row, BadRow):
            raise UserError(f"{path}:{line}: {row.detail}" if line else f"{path} row {number}: {row.detail}")
        rows.append(row)
    return rows


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path} is not a file (looked from {Path.cwd()}); give an existing one")
    return path


def _kind(path: Path) -> tuple[str, str]:
    """Return the suffix that names the format, and the compression's or ""."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    compression = suffixes.pop() if suffixes and suffixes[-1] in COMPRESSIONS else ""
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in SUFFIXES:
        raise UserError(
            f"{path}: suffix {path.suffix!r} is not read; use {', '.join(SUFFIXES)}, each also with .gz or .zst"
        )
    if suffix == ".parquet" and compression:
        raise UserError(f"{path}: Parquet is compressed inside; decompress the file")
    return suffix, compression


def _is_text(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return not hidden and path.suffix.lower() == ".txt" and path.stem.lower() not in _DOCUMENT_NAMES


def _is_document(path: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.parts)
    return hidden or path.suffix.lower() in _DOCUMENTS or path.stem.lower() in _DOCUMENT_NAMES


def _opened(path: Path, compression: str) -> BufferedIOBase:
    if compression == ".gz":
        return cast(BufferedIOBase, gzip.open(path, "rb"))
    if compression == ".zst":
        import pyarrow

        # An Arrow stream counts as a raw one: readline needs the buffer.
        return io.BufferedReader(pyarrow.CompressedInputStream(pyarrow.OSFile(str(path)), "zstd"), 1 << 16)
    return path.open("rb")
