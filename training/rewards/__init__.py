"""The shipped rewards, each pure, versioned and in a file of its own with golden cases beside it.

A reward is `f(completions, prompts, **columns) -> list[float | None]`: the assistant's text and the row's columns,
nothing else. 0.0 means wrong, None means not applicable. Change what one returns and its version must rise: versions
are part of every fingerprint. `training.rewards.scoring` calls them; nothing else should, except where one reward is
all that is asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from training.rewards.answer import answer
from training.rewards.format import check_tags, format_tags
from training.rewards.length import check_lengths, soft_overlong


def _accept_any(parameters: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True)
class Reward:
    """A reward function, its version, its parameters with defaults, and the data columns it cannot do without.

    `check` raises UserError for parameter values it does not accept; it gets all parameters, defaults filled in.
    """

    name: str
    version: int
    function: Callable[..., list[float | None]]
    parameters: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], None] = _accept_any


REWARDS: dict[str, Reward] = {
    "answer": Reward("answer", 1, answer, {"strict": False}, ("answer",)),
    "format": Reward("format", 1, format_tags, {"tags": ["answer"]}, (), check_tags),
    "length": Reward(
        "length", 1, soft_overlong, {"max_length": None, "buffer": None, "unit": "tokens"}, (), check_lengths
    ),
}
