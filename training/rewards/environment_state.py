"""An environment as a reward sees it after the completion's last turn: its public attributes, and what it said of
itself.
"""

from collections.abc import Mapping
from typing import Any

COLUMN = "environments"
"""The column in which rewards get it: TRL's name."""


class EnvironmentState:
    """Read-only: attributes as they were, and `get_reward()` as it answered, on the rank where the environment ran."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """`state` is what `training.environments.environment_state` wrote."""
        self._state = state

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__["_state"]
        if name in state["attributes"]:
            return state["attributes"][name]
        if name in state["hidden"]:
            raise AttributeError(
                f"the environment's {name} is no number, text, list or dict of those, so no reward can read it"
            )
        there = ", ".join(state["attributes"]) or "none"
        raise AttributeError(f"the environment has no attribute {name}; it has {there}")

    def get_reward(self) -> float | None:
        """What the environment's get_reward() returned; raises what it raised, as text."""
        if self._state["error"] is not None:
            raise RuntimeError(f"get_reward of the environment: {self._state['error']}")
        value: float | None = self._state["reward"]
        return value
