"""Rows of JSON texts, one at a time: lines of objects (.jsonl) and one list of objects (.json), in constant memory.

A broken line is one bad row, and reading goes on after it. A broken list is a UserError: where the next element
begins cannot be known.
"""

import json
import re
from collections.abc import Iterator
from io import BufferedIOBase
from typing import Any

from data.errors import UserError
from data.row_checks import BadRow

Read = tuple[int | None, dict[str, Any] | BadRow]
"""The line of a row (from 1; None where a file has no lines) and the row, or what is wrong with it."""

MAX_ROW_BYTES = 1 << 28
"""A longer line is no row but a file without line ends: reading it would take all memory."""

_CHUNK_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
_SPACE = re.compile(r"[ \t\r\n]*")


def json_lines(file: BufferedIOBase, name: str) -> Iterator[Read]:
    """Yield every line that is not blank; Windows line ends and a byte order mark are no part of it."""
    for number, line in enumerate(lines(file, name), start=1):
        # Only newlines end a line: str.splitlines would also break at U+2028 inside a string.
        if line.strip():
            yield number, _object(line.rstrip(b"\r\n"))


def lines(file: BufferedIOBase, name: str) -> Iterator[bytes]:
    """Yield the lines of a UTF-8 file without its byte order mark; UserError for UTF-16 and endless lines."""
    first = True
    while line := file.readline(MAX_ROW_BYTES):
        if first:
            if line.startswith(_UTF_16):
                raise UserError(f"{name} is UTF-16 text; save it as UTF-8")
            line, first = line.removeprefix(_BOM), False
        if len(line) == MAX_ROW_BYTES and not line.endswith(b"\n"):
            raise UserError(f"{name} has a line of more than {MAX_ROW_BYTES >> 20} MiB; write one row a line")
        yield line


def not_utf8(error: UnicodeDecodeError) -> BadRow:
    """Return the bad row for a line that cannot be decoded."""
    byte = error.object[error.start]
    return BadRow("not_utf8", f"byte 0x{byte:02x} at position {error.start} is not UTF-8 text; save the file as UTF-8")


def _object(line: bytes) -> dict[str, Any] | BadRow:
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        return not_utf8(error)
    except json.JSONDecodeError as error:
        return BadRow("not_json", f"{error.msg} at column {error.colno}; every line must be one JSON object")
    except RecursionError:
        return BadRow("too_deep", "lists or objects are nested too deep to be read")
    except ValueError as error:  # an integer of more than 4,300 digits
        return BadRow("not_json", f"{error}; every line must be one JSON object")
    if not isinstance(row, dict):
        return BadRow("not_an_object", f"a {type(row).__name__}; every line must be one JSON object")
    return row


def json_list(file: BufferedIOBase, name: str) -> Iterator[Read]:
    """Yield the elements of a list of objects, each with the line it begins on."""
    text = _Text(file, name)
    if text.peek() != "[":
        kind = {"{": "an object", "": "nothing"}.get(text.peek(), "something else")
        raise UserError(f"{name} holds {kind}; a .json file is one list of objects [...] (one object a line is .jsonl)")
    text.skip(1)
    if text.peek() == "]":
        text.skip(1)
    else:
        while True:
            line, element = text.element()
            if isinstance(element, dict):
                yield line, element
            else:
                yield line, BadRow("not_an_object", f"a {type(element).__name__}; every element must be an object")
            mark = text.peek()
            if mark not in (",", "]"):
                raise text.broken("Expecting ',' or ']' after an element")
            text.skip(1)
            if mark == "]":
                break
    if text.peek():
        raise text.broken("Extra data after the list")


class _Text:
    """A window over a JSON text that knows its line; grows only while an element does not fit."""

    def __init__(self, file: BufferedIOBase, name: str) -> None:
        self._chunks = _decoded(file, name)
        self._name = name
        self._text = ""
        self._at = 0
        self._line = 1
        self._ended = False
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """Return the next character that is not white space, "" at the end."""
        while True:
            self.skip(_SPACE.match(self._text, self._at).end() - self._at)  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._grow():
                return ""

    def skip(self, characters: int) -> None:
        self._line += self._text.count("\n", self._at, self._at + characters)
        self._at += characters

    def element(self) -> tuple[int, Any]:
        """Return the line and the value of the next element."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                # Cut by the window's end, or broken? A break well before the end is no cut.
                cut = error.msg.startswith("Unterminated string") or error.pos > len(self._text) - 16
                if self._ended or not cut:
                    self.skip(error.pos - self._at)
                    raise self.broken(error.msg) from error
            except RecursionError as error:
                raise self.broken("lists or objects are nested too deep to be read") from error
            except ValueError as error:  # an integer of more than 4,300 digits
                raise self.broken(str(error)) from error
            else:
                # A number at the window's end may go on in the next chunk.
                if end < len(self._text) or self._ended:
                    line = self._line
                    self.skip(end - self._at)
                    return line, value
            self._grow()

    def broken(self, reason: str) -> UserError:
        return UserError(
            f"{self._name}:{self._line}: {reason}; a .json file is one list of objects (one object a line is .jsonl)"
        )

    def _grow(self) -> bool:
        """Double the window, or take a chunk; False at the end of the file."""
        wanted = max(_CHUNK_BYTES, len(self._text) - self._at)
        if wanted > MAX_ROW_BYTES:
            raise self.broken(f"an element of more than {MAX_ROW_BYTES >> 20} MiB")
        more: list[str] = []
        while sum(map(len, more)) < wanted:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._ended = True
                break
            more.append(chunk)
        self._text = self._text[self._at :] + "".join(more)
        self._at = 0
        return bool(more)


def text_document(file: BufferedIOBase, name: str) -> Iterator[Read]:
    """Yield the one row of a .txt file, {"text": all of it}; UserError with the line of what is not UTF-8."""
    parts: list[str] = []
    size = 0
    for part in _decoded(file, name):
        size += len(part)
        if size > MAX_ROW_BYTES:
            raise UserError(f"{name}: a document of more than {MAX_ROW_BYTES >> 20} MiB; cut it into several files")
        parts.append(part)
    yield 1, {"text": "".join(parts)}


def _decoded(file: BufferedIOBase, name: str) -> Iterator[str]:
    """Yield the text of a file in chunks that end between characters; UserError with the line of what is not UTF-8."""
    number = 1
    rest = b""
    first = True
    while block := file.read(_CHUNK_BYTES):
        if first and block.startswith(_UTF_16):
            raise UserError(f"{name} is UTF-16 text; save it as UTF-8")
        block, first = rest + (block.removeprefix(_BOM) if first else block), False
        try:
            text, rest = block.decode("utf-8"), b""
        except UnicodeDecodeError as error:
            if error.end < len(block) or error.reason != "unexpected end of data":
                line = number + block.count(b"\n", 0, error.start)
                raise UserError(f"{name}:{line}: {not_utf8(error).detail}") from error
            text, rest = block[: error.start].decode("utf-8"), block[error.start :]
        number += text.count("\n")
        yield text
    if rest:
        raise UserError(f"{name}:{number}: the file ends inside a character; it is cut or not UTF-8")
