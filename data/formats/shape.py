"""What kind of value each column of a row holds: the only thing formats are recognised by."""

import re
from typing import Any

Shape = tuple[tuple[str, str], ...]
"""The columns that are not null, sorted, each with its kind."""

_TRANSCRIPT = re.compile(r"\s*Human: ?")
_GSM8K = re.compile(r"^#### ?\S", re.MULTILINE)

TRANSCRIPT = frozenset({"transcript"})
OPEN_TRANSCRIPT = frozenset({"open transcript"})
GSM8K_ANSWER = frozenset({"gsm8k answer"})
BOXED = frozenset({"boxed"})
TEXT = frozenset({"text", "truth text"}) | TRANSCRIPT | OPEN_TRANSCRIPT | GSM8K_ANSWER | BOXED
MESSAGES = frozenset({"messages"})
TURNS = frozenset({"turns"})
TRUTH = frozenset({"truth"})
MAYBE_TRUTH = frozenset({"truth number", "truth text"})
NUMBER = frozenset({"number", "truth number"})
TEXTS = frozenset({"texts"})
CHOICES = frozenset({"choices"})
TURN = frozenset({"turn"})
MESSAGE = frozenset({"message"})


def shape(row: dict[str, Any]) -> Shape:
    """Return the shape of a row; equal shapes are of equal formats."""
    return tuple(sorted((column, kind(value)) for column, value in row.items() if value is not None))


def kind(value: Any) -> str:
    """Return the kind of a value that is not null; of a list, its first element decides."""
    if isinstance(value, str):
        return _text_kind(value)
    if isinstance(value, bool):
        return "truth"
    if isinstance(value, int | float):
        return "truth number" if value in (0, 1) else "number"
    if isinstance(value, dict):
        return _object_kind(value)
    if not value:
        return "empty list"
    first = value[0]
    if isinstance(first, dict):
        return {"message": "messages", "turn": "turns"}.get(_object_kind(first), "list")
    return "texts" if isinstance(first, str) else "list"


def _text_kind(value: str) -> str:
    if _TRANSCRIPT.match(value) and "Assistant:" in value:
        return "open transcript" if value.rstrip().endswith("Assistant:") else "transcript"
    if "####" in value and _GSM8K.search(value):
        return "gsm8k answer"
    if len(value) < 8 and value.strip().lower() in ("0", "1", "true", "false"):
        return "truth text"
    return "boxed" if "\\boxed" in value or "\\fbox" in value else "text"


def _object_kind(value: dict[str, Any]) -> str:
    if "role" in value:
        return "message"
    if "from" in value and "value" in value:
        return "turn"
    return "choices" if isinstance(value.get("text"), list) and "label" in value else "object"
