"""Intervals of numbers and unions of them: "(-\\infty, 1] \\cup (3, 5)" and "x <= 1 or 3 < x < 5" are one set.

Endpoints are numbers; where one is an expression the text is no interval here, and math-verify compares it.
"""

import re
from fractions import Fraction

from training.rewards.number_text import plain_digits, whole_number

End = tuple[Fraction | None, bool]
"""A bound (None is infinite) and whether it belongs to the interval."""
Interval = tuple[End, End]

_INFINITE = re.compile(r"^(?P<sign>[-+]?)\s*(?:\\infty|∞|infinity|inf|oo)$", re.IGNORECASE)
_PIECE = re.compile(r"^([(\[])\s*([^,;()\[\]]+?)\s*[,;]\s*([^,;()\[\]]+?)\s*([)\]])$")
_UNION = re.compile(r"\s*(?:\\cup|∪|\bU\b|\bor\b|\\lor)\s*")
_MEMBER = re.compile(r"^[a-zA-Z]\s*(?:\\in|∈|\bin\b)\s*")
_COMPARED = re.compile(r"(<=|>=|<|>)")
_SIGNS = (("\\leq", "<="), ("\\geq", ">="), ("\\le", "<="), ("\\ge", ">="), ("\\lt", "<"), ("\\gt", ">"))
_OTHER_SIGNS = (("≤", "<="), ("≥", ">="), ("⩽", "<="), ("⩾", ">="))
MAX_LENGTH = 300


def intervals(text: str) -> list[Interval] | None:
    """Return the intervals of a text in order, None if it is anything else; [1, 2] and (1, 2) are read as intervals."""
    text = plain_digits(text).strip().strip("$").strip().rstrip(".")
    if len(text) > MAX_LENGTH:
        return None
    text = text.replace("\\left", "").replace("\\right", "")
    for spelled, plain in (*_SIGNS, *_OTHER_SIGNS):
        text = text.replace(spelled, plain)
    pieces = [_piece(part) for part in _UNION.split(_MEMBER.sub("", text))]
    if not pieces or any(piece is None for piece in pieces):
        return None
    return sorted((piece for piece in pieces if piece is not None), key=_low)


def is_certain(text: str) -> bool:
    """Whether a text can be nothing but an interval: half-open, infinite, a union or an inequality; [1, 2] may be a
    list and (1, 2) a point."""
    found = intervals(text)
    if found is None:
        return False
    ((low, low_in), (high, high_in)) = found[0]
    return len(found) > 1 or low is None or high is None or low_in != high_in or ("[" not in text and "(" not in text)


def _piece(text: str) -> Interval | None:
    bracketed = _PIECE.match(text.strip())
    if bracketed:
        low, high = _bound(bracketed[2], "-"), _bound(bracketed[3], "+")
        if low is None or high is None:
            return None
        low_in, high_in = bracketed[1] == "[" and low[0] is not None, bracketed[4] == "]" and high[0] is not None
        return (low[0], low_in), (high[0], high_in)
    return _inequality(text)


def _bound(text: str, infinite: str) -> tuple[Fraction | None] | None:
    """The bound that a text is, wrapped, since None stands for infinity; None if it is none."""
    found = _INFINITE.match(text.strip())
    if found:
        return (None,) if (found["sign"] or "+") == infinite else None
    number = whole_number(text)
    return None if number is None else (number.value,)


def _inequality(text: str) -> Interval | None:
    """The interval of "x > 3", "3 < x" or "1 < x <= 5" with any one letter."""
    parts = [part.strip() for part in _COMPARED.split(text)]
    letters = [place for place, part in enumerate(parts) if re.fullmatch(r"[a-zA-Z]", part)]
    if len(parts) not in (3, 5) or len(letters) != 1 or (len(parts) == 5 and letters != [2]):
        return None
    low: End = (None, False)
    high: End = (None, False)
    for place in range(1, len(parts), 2):
        left, sign, right = parts[place - 1], parts[place], parts[place + 1]
        is_left = re.fullmatch(r"[a-zA-Z]", left) is not None
        number = whole_number(right if is_left else left)
        if number is None:
            return None
        bound: End = (number.value, "=" in sign)
        if ("<" in sign) == is_left:
            high = bound
        else:
            low = bound
    if len(parts) == 5 and (low[0] is None or high[0] is None):
        return None
    return low, high


def _low(interval: Interval) -> tuple[bool, Fraction]:
    bound = interval[0][0]
    return bound is not None, bound or Fraction(0)
