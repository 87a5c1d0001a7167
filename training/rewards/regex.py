"""Reward `regex`: does the completion match a regular expression? For layouts that no other reward knows.

Python's `re`. A pattern that backtracks without end is killed with its worker at `runtime.reward_time_limit`, and the
completion counts as an error: write patterns without nested repetitions.
"""

import re
from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from training.rewards.extract import visible_text


def regex(
    completions: list[str],
    prompts: list[str],
    pattern: str,
    full: bool = False,
    ignore_case: bool = False,
    thinking: bool = False,
    **columns: Any,
) -> list[float | None]:
    """Return 1.0 where `pattern` is found in the completion, or with `full` is all of it, else 0.0.

    What stands in <think> is left out unless `thinking`. `.` matches line ends, `^` and `$` match at lines.
    """
    compiled = _compiled(pattern, ignore_case)
    match = compiled.fullmatch if full else compiled.search
    texts = completions if thinking else [visible_text(completion, "") for completion in completions]
    return [float(match(text.strip()) is not None) for text in texts]


def check_pattern(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless `pattern` is a regular expression."""
    pattern = parameters["pattern"]
    if not isinstance(pattern, str) or not pattern:
        raise UserError(f"reward regex: pattern={pattern!r} is not accepted; give a regular expression")
    try:
        _compiled(pattern, False)
    except re.error as error:
        raise UserError(f"reward regex: pattern={pattern!r} is no regular expression: {error}") from error


def _compiled(pattern: str, ignore_case: bool) -> re.Pattern[str]:
    return re.compile(pattern, re.DOTALL | re.MULTILINE | (re.IGNORECASE if ignore_case else re.NOFLAG))
