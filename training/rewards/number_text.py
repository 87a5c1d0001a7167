"""Numbers as people and models write them: any script's digits, signs, thousands separators, decimals, fractions,
exponents.

Values are exact (Fraction), so that 0.5 equals 1/2 and 0.1 equals 0.10. Numbers too large to be worth computing have
no value.
"""

import re
import unicodedata
from dataclasses import dataclass
from fractions import Fraction

MAX_DIGITS = 400
"""Longest number that gets a value: int() itself refuses 4,300 digits, and a fraction of 10^999999 would take
minutes.
"""

# Minus signs, the Arabic decimal and thousands separators, fullwidth punctuation; spaces used between groups of digits.
_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("\u2212\ufe63\uff0d\u2010\u2011", "-"),
        **dict.fromkeys("\uff0b\ufe62", "+"),
        **dict.fromkeys("\u066b\uff0e", "."),
        **dict.fromkeys("\u066c\uff0c", ","),
        **dict.fromkeys("\u2044\u2215\uff0f", "/"),
        "\uff05": "%",
        "\u066a": "%",
        **dict.fromkeys("\u00a0\u202f\u2009", "\u00a0"),
    }
)
_DIGITS = r"(?:\d{1,3}(?:,\d{2,3})*,\d{3}(?!\d)|\d{1,3}(?:\u00a0\d{3})+(?!\d)|\d+)"
_DECIMAL = rf"(?:{_DIGITS}(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
# Not inside a word (x2) nor right after a decimal point, and not the 0 of 0x1f.
_MIXED = r"(?:(?P<whole>\d{1,9})[ \t]+(?=\d{1,9}/\d))?"
NUMBER = re.compile(
    rf"(?<![\w.])(?:(?<![)\]])[-+])?{_MIXED}(?P<top>{_DECIMAL})(?![xX][\da-fA-F])"
    rf"(?:\s*/\s*(?P<bottom>-?{_DECIMAL}))?(?![.]\d)"
)


@dataclass(frozen=True)
class Number:
    """A number found in a text: its exact value, whether it was written a/b, and where it stands."""

    value: Fraction
    is_fraction: bool
    in_lowest_terms: bool
    start: int
    end: int


def plain_digits(text: str) -> str:
    """Return `text` with every script's decimal digits as 0-9, one kind of minus, and no invisible direction marks.

    Superscripts and circled digits are not decimal digits and stay, so that 2² does not become 22.
    """
    if text.isascii():
        return text
    out = []
    for character in text.translate(_PUNCTUATION):
        if unicodedata.category(character) == "Cf":
            continue
        digit = unicodedata.decimal(character, None)
        out.append(character if digit is None else str(digit))
    return "".join(out)


def find_numbers(text: str) -> list[Number]:
    """Return the numbers of `text` (digits already plain) from left to right; those too large to compute are left
    out.
    """
    return [number for match in NUMBER.finditer(text) if (number := _number(match)) is not None]


def whole_number(text: str) -> Number | None:
    """Return the number that `text` is, with nothing but spaces, a per cent or currency sign beside it, or None."""
    stripped = re.sub(r"^([-+])\s+", r"\1", plain_digits(text).strip().strip("%$€£°").strip())
    stripped = re.sub(r"^([-+])[$€£]", r"\1", stripped).rstrip(".")
    match = NUMBER.fullmatch(stripped)
    number = _number(match) if match else None
    return number if number is not None and number.start == 0 else None


def _number(match: re.Match[str]) -> Number | None:
    top = _value(match["top"])
    if top is None:
        return None
    negative = match[0].startswith("-")
    top = -top if negative else top
    if match["bottom"] is None:
        return Number(top, False, True, match.start(), match.end())
    bottom = _value(match["bottom"].removeprefix("-"))
    if not bottom:
        return None
    bottom = -bottom if match["bottom"].startswith("-") else bottom
    value = top / bottom
    lowest = (value.numerator, value.denominator) in ((top, bottom), (-top, -bottom))
    if match["whole"] is None:
        return Number(value, True, lowest, match.start(), match.end())
    if abs(value) >= 1:  # two numbers beside each other: the fraction is the last of them
        return Number(abs(value), True, lowest, match.start("top"), match.end())
    whole = Fraction(match["whole"])
    return Number(value - whole if negative else value + whole, True, lowest, match.start(), match.end())


def _value(text: str) -> Fraction | None:
    """Return the exact value of an unsigned decimal, None beyond MAX_DIGITS digits or powers of ten."""
    mantissa, _, exponent = text.lower().replace(",", "").replace("\u00a0", "").partition("e")
    if len(mantissa) > MAX_DIGITS or len(exponent) > 4 or abs(int(exponent or 0)) > MAX_DIGITS:
        return None
    return Fraction(mantissa) * Fraction(10) ** int(exponent or 0)
