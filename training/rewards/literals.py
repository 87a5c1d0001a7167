"""Values that cross the wall of the sandbox: what Python writes as literals, as JSON that keeps their types.

`training/rewards/code_inside.py` writes this form inside; it is read here, outside, where nothing of the program can
take part in a comparison. Whatever arrives is data: it is checked, bounded, and compared by the builtin types alone.
"""

import ast
import json
import math
from typing import Any

MAX_HASHED = 5000
"""Items of a set or mapping that is read back: hashes of integers can be made to collide."""

RELATIVE, ABSOLUTE = 1e-9, 1e-12


class NotALiteral(ValueError):
    """Something that is no encoded literal."""


def read_reply(line: str) -> Any:
    """Return the value of one line {"value": ...}; NotALiteral for an error, a lie or nonsense."""
    try:
        message = json.loads(line)
        return decode(message["value"])
    except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
        raise NotALiteral(f"no value: {type(error).__name__}") from None


def decode(form: Any) -> Any:
    """Return the value that `form` encodes; ValueError or TypeError where it encodes none."""
    if form is None or isinstance(form, bool | int | str):
        return form
    if not isinstance(form, dict) or len(form) != 1:
        raise NotALiteral("not an encoded value")
    ((kind, content),) = form.items()
    if kind in ("set", "frozenset", "dict") and len(content) > MAX_HASHED:
        raise NotALiteral(f"a {kind} of {len(content)} items")
    if kind == "dict":
        return {decode(key): decode(value) for key, value in content}
    makers: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}
    if kind in makers:
        return makers[kind](decode(item) for item in content)
    plain: dict[str, Any] = {"float": float, "bytes": bytes.fromhex, "complex": complex}
    return plain[kind](content)


def same(given: Any, expected: Any) -> bool:
    """Whether two literals are equal as `==` has it, but for floats (to a relative 1e-9) and list against tuple."""
    if isinstance(expected, list | tuple):
        return (
            isinstance(given, list | tuple)
            and len(given) == len(expected)
            and all(same(mine, theirs) for mine, theirs in zip(given, expected, strict=True))
        )
    if isinstance(expected, dict):
        return (
            isinstance(given, dict)
            and given.keys() == expected.keys()
            and all(same(given[key], value) for key, value in expected.items())
        )
    if isinstance(expected, float) or isinstance(given, float):
        return _close(given, expected)
    return bool(given == expected)


def parse_literal(text: str) -> Any:
    """Return the value of a literal in Python's spelling, from the data (never from a program); ValueError if none."""
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ValueError(f"{text!r} is no Python literal") from error


def _close(given: Any, expected: Any) -> bool:
    if not all(isinstance(each, int | float) for each in (given, expected)):
        return False
    try:
        both_nan = math.isnan(given) and math.isnan(expected)
        return both_nan or math.isclose(given, expected, rel_tol=RELATIVE, abs_tol=ABSOLUTE)
    except OverflowError:  # an integer beyond every float
        return False
