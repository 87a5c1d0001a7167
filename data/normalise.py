"""One notion of "the same text" and of a token, in every script: what dedup, decontamination and splits stand on.

`normalised` is for exact comparison: Unicode NFKC, case folded, invisible format characters (zero-width joiners,
direction marks, soft hyphens, BOMs) removed, each run of whitespace one space. Punctuation stays: "3.5" and "35",
"2 + 3" and "2 - 3" are different texts.

`tokens` is for overlap: words, without punctuation. A combining mark belongs to its letter (Python's own \\w ends a
Bengali word at each vowel sign). Scripts that put no spaces between words give one token a character with its marks.
Mathematical operators are tokens, since they carry the question in arithmetic.
"""

import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

UNSPACED_SCRIPTS = (
    "CJK ",
    "HIRAGANA ",
    "KATAKANA ",
    "BOPOMOFO ",
    "YI SYLLABLE",
    "THAI ",
    "LAO ",
    "KHMER ",
    "MYANMAR ",
    "TIBETAN ",
    "JAVANESE ",
    "BALINESE ",
)
"""How the Unicode names of letters begin in scripts that are written without spaces between words."""

OPERATORS = "+*/%^=<>|~±×÷−∗√∑∏∫≤≥≠≈"
MINUS = r"-(?=\s?[\d(])"
"""A hyphen counts as an operator only in front of a number or a bracket: "well-known" is two tokens, "5 - 3" three."""

_ASCII_TOKEN = re.compile(rf"[a-z0-9]+|[{re.escape(OPERATORS)}]|{MINUS}")


def normalised(text: str) -> str:
    """Return `text` as it is compared exactly (see the module's first lines)."""
    if not text.isascii():
        text = _format_characters().sub("", unicodedata.normalize("NFKC", text))
    folded = text.casefold()
    if folded != text and not folded.isascii():
        folded = unicodedata.normalize("NFKC", folded)  # folding can leave what NFKC composes
    return " ".join(folded.split())


def tokens(text: str) -> list[str]:
    """Return the tokens of `text` in order; a text without letters, digits or operators has none."""
    text = normalised(text)
    return _ASCII_TOKEN.findall(text) if text.isascii() else _unicode_token().findall(text)


def row_segments(row: Mapping[str, Any], system: str | None = None) -> list[str]:
    """Return the texts of a row as the trainers' formats make it: text, prompt, completion, chosen, rejected, answer.

    One segment a message. The message `system`, which the pipeline puts before every row alike, is left out: it says
    nothing about the row.
    """
    segments: list[str] = []
    for column in ("text", "prompt", "completion", "chosen", "rejected", "answer"):
        value = row.get(column)
        if isinstance(value, list):
            segments += [m["content"] for m in value if not (m["role"] == "system" and m["content"] == system)]
        elif value is not None:
            segments.append(str(value))
    return segments


def prompt_text(row: Mapping[str, Any]) -> str:
    """Return the normalised prompt of a row, roles included, or its raw text; two rows with the same ask the same."""
    prompt = row["prompt"] if "prompt" in row else row["text"]
    if isinstance(prompt, str):
        return normalised(prompt)
    return "\n".join(f"{message['role']}: {normalised(message['content'])}" for message in prompt)


def joined(segments: Sequence[str]) -> str:
    """Return one text that tells rows apart: the normalised segments, which hold no line feed, one a line."""
    return "\n".join(map(normalised, segments))


@cache
def _format_characters() -> re.Pattern[str]:
    """The invisible characters of the basic plane (category Cf)."""
    return re.compile(f"[{_ranges(n for n in range(0x10000) if unicodedata.category(chr(n)) == 'Cf')}]")


@cache
def _unicode_token() -> re.Pattern[str]:
    """Built once, from the Unicode data of this Python, in about 0.3 s.

    `re` looks a character up in a bitmap only where a class stays inside the basic plane; beyond it (rare Han) each
    letter is a token.
    """
    spaced: list[int] = []
    unspaced: list[int] = []
    marks: list[int] = []
    beyond: list[int] = []
    for point in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(point))[0]
        if point > 0xFFFF:
            beyond += [point] if category in "LN" else []
        elif category == "M":
            marks.append(point)
        elif category in "LN":
            alone = category == "L" and unicodedata.name(chr(point), "").startswith(UNSPACED_SCRIPTS)
            (unspaced if alone else spaced).append(point)
    mark, word, single, rare = map(_ranges, (marks, spaced, unspaced, beyond))
    operator = re.escape(OPERATORS)
    return re.compile(
        f"[{word}][{word}{mark}]*|[{single}][{mark}]*|[{operator}]|{MINUS}|(?=[\U00010000-\U0010ffff])[{rare}]"
    )


def _ranges(points: Iterable[int]) -> str:
    """Return ascending code points as the inside of a regular expression's character class."""
    spans: list[list[int]] = []
    for point in points:
        if spans and spans[-1][1] == point - 1:
            spans[-1][1] = point
        else:
            spans.append([point, point])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)
