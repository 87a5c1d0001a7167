"""What a reward is made of, and which one an entry of `rewards:` means: a shipped one, or a function of the user."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

CALLABLE_KEY = "rewards.callable"
"""The config key of a user's function, for messages."""


def _accept_any(parameters: Mapping[str, Any]) -> None:
    return None


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Reward:
    """A reward function, its version, its parameters with defaults, and the data columns it cannot do without.

    `check` raises UserError for parameter values it does not accept; it gets all parameters, defaults filled in.
    `prepare` imports what the function always needs and is slow to load; a worker calls it before the first completion,
    outside every time limit. `time_limit_s` is the least limit for rewards that start programs of their own and end
    them in time. `probed` is False where no completion made from a row can be expected to earn anything, so that a
    constant on such completions means nothing. `require` raises UserError where this machine lacks what the reward
    needs with these parameters; it is asked before the first stage.
    """

    name: str
    version: int
    function: Callable[..., list[float | None]]
    parameters: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    check: Callable[[Mapping[str, Any]], None] = _accept_any
    prepare: Callable[[], None] = _nothing
    time_limit_s: float = 0.0
    probed: bool = True
    require: Callable[[Mapping[str, Any]], None] = _accept_any
