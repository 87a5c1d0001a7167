"""Reward `length`: DAPO's soft overlong punishment (Yu et al. 2025, arXiv 2503.14476, eq. 13)."""

from collections.abc import Mapping
from typing import Any

from data.errors import UserError

UNITS = ("tokens", "characters")


def soft_overlong(
    completions: list[str],
    prompts: list[str],
    max_length: int,
    buffer: int,
    unit: str = "tokens",
    completion_tokens: list[int] | None = None,
    **columns: Any,
) -> list[float | None]:
    """Return 0.0 up to max_length - buffer, then a straight line down to -1.0 at max_length, and -1.0 beyond.

    `max_length` is L_max of the paper and `buffer` its L_cache. Lengths are `completion_tokens` (the end token
    counts, if the caller counts it) or characters, by `unit`.
    """
    if unit == "tokens":
        if completion_tokens is None:
            raise UserError(
                "reward length: unit=tokens needs token counts, which are not known here; use unit: characters"
            )
        lengths = completion_tokens
    else:
        lengths = [len(completion) for completion in completions]
    return [_punishment(length, max_length, buffer) for length in lengths]


def check_lengths(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless 1 <= buffer <= max_length, whole numbers, and the unit is known."""
    max_length, buffer = parameters["max_length"], parameters["buffer"]
    for name, value in (("max_length", max_length), ("buffer", buffer)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise UserError(f"reward length: {name}={value!r} is not accepted; give a whole number of 1 or more")
    if buffer > max_length:
        raise UserError(f"reward length: buffer={buffer} exceeds max_length={max_length}; the buffer is its last part")
    if parameters["unit"] not in UNITS:
        raise UserError(f"reward length: unit={parameters['unit']!r} is not accepted; use {' or '.join(UNITS)}")


def _punishment(length: int, max_length: int, buffer: int) -> float:
    free = max_length - buffer
    if length <= free:
        return 0.0
    return max((free - length) / buffer, -1.0)
