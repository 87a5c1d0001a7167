"""Reward `cosine_length`: right answers earn more when short, wrong ones lose less when long (Yeo et al. 2025).

arXiv 2502.03373, section 4: with t tokens of at most T, a completion earns
`low + (high - low) / 2 * (1 + cos(pi * t / T))`, from `high` at t = 0 to `low` at t = T, by whether it is right; one
that reaches the limit earns `exceeded` whatever it says. The defaults are those of the paper's experiments: right 2 to
1, wrong -10 to 0, exceeded -10. Whether it is right is what reward `answer` says.
"""

import math
from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from training.rewards.answer import is_right


def cosine_length(
    completions: list[str],
    prompts: list[str],
    answer: list[Any],
    max_length: int,
    right: tuple[float, float] = (2.0, 1.0),
    wrong: tuple[float, float] = (-10.0, 0.0),
    exceeded: float = -10.0,
    completion_tokens: list[int] | None = None,
    **columns: Any,
) -> list[float | None]:
    """Return the cosine reward; None where the column `answer` is null.

    `right` and `wrong` are the rewards of an empty and of a longest completion. Lengths are `completion_tokens`.
    """
    if completion_tokens is None:
        raise UserError("reward cosine_length needs token counts, which are not known here")
    rows = zip(completions, prompts, answer, completion_tokens, strict=True)
    return [
        None
        if expected is None
        else _reward(tokens, max_length, right if is_right(text, str(expected), prompt) else wrong, exceeded)
        for text, prompt, expected, tokens in rows
    ]


def check_cosine(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless `max_length` is a whole number and the rewards are numbers, two for right and wrong."""
    max_length = parameters["max_length"]
    if isinstance(max_length, bool) or not isinstance(max_length, int) or max_length < 1:
        raise UserError(
            f"reward cosine_length: max_length={max_length!r} is not accepted; give a whole number from 1 on"
        )
    for name in ("right", "wrong"):
        pair = parameters[name]
        if not isinstance(pair, list | tuple) or len(pair) != 2 or not all(_is_number(value) for value in pair):
            raise UserError(f"reward cosine_length: {name}={pair!r} is not accepted; give [when empty, when longest]")
    if not _is_number(parameters["exceeded"]):
        raise UserError(f"reward cosine_length: exceeded={parameters['exceeded']!r} is not accepted; give a number")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _reward(tokens: int, max_length: int, ends: tuple[float, float], exceeded: float) -> float:
    if tokens >= max_length:
        return exceeded
    empty, longest = ends
    return longest + 0.5 * (empty - longest) * (1.0 + math.cos(math.pi * tokens / max_length))
