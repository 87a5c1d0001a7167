"""One reward called for one completion, in a worker: its arguments, its value, and what it raised as one line."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from data.errors import UserError
from data.own_functions import load_function
from training.rewards import REWARDS
from training.rewards.environment_state import COLUMN, EnvironmentState
from training.rewards.reward import CALLABLE_KEY

MAX_ERROR = 500
"""Longest error that is reported, in characters."""


class RewardCall:
    """A reward with its parameters, ready to be called."""

    def __init__(self, name: str, function: Callable[..., Any], parameters: Mapping[str, Any], own: bool) -> None:
        """`own` functions get only the columns they name, unless they take `**columns`."""
        self.name, self._function, self._parameters = name, function, dict(parameters)
        named = list(inspect.signature(function).parameters.values())
        self._takes_all = not own or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in named)
        self._takes = {each.name for each in named[2:]}
        self._needs = {each.name for each in named[2:] if own and _is_required(each)} - set(parameters)

    def score(self, completion: str, prompt: str, columns: Mapping[str, Any]) -> tuple[float | None, str | None]:
        """Return (value, None), or (None, error) where the function raises or returns no reward.

        UserError travels: nothing about the completion caused it.
        """
        given = {name: [seen(name, value)] for name, value in columns.items() if self._takes_all or name in self._takes}
        missing = sorted(self._needs - set(given))
        if missing:
            found = ", ".join(sorted(columns)) or "none"
            raise UserError(f"reward {self.name} needs the column {missing[0]!r}; the data has {found}")
        try:
            return _one_value(self._function([completion], [prompt], **{**given, **self._parameters})), None
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # Counted as an error of this completion; a reward may raise anything.
            return None, f"{self.name}: {type(error).__name__}: {error}"[:MAX_ERROR]


def load_calls(specs: list[dict[str, Any]]) -> list[RewardCall]:
    """Return the calls of `specs` (name, callable or None, all parameters), everything slow to import imported."""
    calls = []
    for spec in specs:
        own = spec["callable"] is not None
        if own:
            function = load_function(spec["callable"], CALLABLE_KEY)
            _check_own(spec["name"], function, spec["parameters"])
        else:
            REWARDS[spec["name"]].prepare()
            function = REWARDS[spec["name"]].function
        calls.append(RewardCall(spec["name"], function, spec["parameters"], own))
    return calls


def _check_own(name: str, function: Callable[..., Any], parameters: Mapping[str, Any]) -> None:
    """Raise UserError for a parameter in the config that the function does not take."""
    named = inspect.signature(function).parameters.values()
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in named):
        return
    taken = [each.name for each in list(named)[2:]]
    unknown = [parameter for parameter in parameters if parameter not in taken]
    if unknown:
        raise UserError(f"reward {name} takes no parameter {unknown[0]}; it takes {', '.join(taken) or 'none'}")


def seen(name: str, value: Any) -> Any:
    """A column's value as a reward gets it: environments are objects, as in TRL."""
    return EnvironmentState(value) if name == COLUMN else value


def _is_required(parameter: inspect.Parameter) -> bool:
    variable = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return parameter.default is inspect.Parameter.empty and parameter.kind not in variable


def _one_value(values: Any) -> float | None:
    """Return the one reward as float or None; anything but one finite number is the reward's error."""
    values = list(values)
    if len(values) != 1:
        raise ValueError(f"returned {len(values)} values for 1 completion")
    return finite(values[0])


def finite(value: Any) -> float | None:
    """Return a score as float, None for None; ValueError for what is no finite number."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"returned {number}, not a finite number")
    return number
