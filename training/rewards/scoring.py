"""Scoring of a batch by all rewards at once, and what happens when a reward raises.

An exception makes the whole completion unscorable: every reward of it becomes None, because TRL sums with nansum and a
single None would count as 0. It is counted, and when too many completions are unscorable the run stops (exit code 4).
"""

import difflib
import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from training.rewards import REWARDS, Reward

MIN_COMPLETIONS = 20
"""Completions before the error rate is judged: one error in the first three says little."""


class RewardErrors(RuntimeError):
    """More completions than `max_error_rate` allows could not be scored; the run stops with exit code 4."""


@dataclass(frozen=True)
class Scores:
    """The scores of one batch, lists in the order of its completions.

    `per_reward` by reward name, unweighted; `total` is the weighted sum of those that apply (None if none does, or
    on an error); `errors` holds what was raised, as "reward: Kind: message", or None.
    """

    per_reward: dict[str, list[float | None]]
    total: list[float | None]
    errors: list[str | None]


class Scorer:
    """The rewards of one stage, and the count of what they could not score."""

    def __init__(self, specs: Sequence[Any], max_error_rate: float) -> None:
        """`specs` have name, weight and params (RewardSpec); raises UserError for unknown rewards and bad
        parameters.
        """
        self.specs = list(specs)
        self.max_error_rate = max_error_rate
        self.num_completions = 0
        self.num_errors = 0
        self._rewards = [(_reward(spec), _parameters(spec)) for spec in self.specs]
        names = [spec.name for spec in self.specs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise UserError(f"rewards: {twice[0]} is listed twice" if twice else "rewards is empty; list at least one")

    @property
    def error_rate(self) -> float:
        """Unscorable completions over all completions so far."""
        return self.num_errors / self.num_completions if self.num_completions else 0.0

    def score(self, completions: list[str], prompts: list[str], columns: dict[str, list[Any]]) -> Scores:
        """Score a batch; `prompts` and every column have one entry a completion.

        Raises RewardErrors once more than `max_error_rate` of all completions so far (at least 20) are unscorable, and
        UserError when a column that a reward needs is not there.
        """
        per_reward: dict[str, list[float | None]] = {}
        errors: list[str | None] = [None] * len(completions)
        for reward, parameters in self._rewards:
            _need_columns(reward, columns)
            values, raised = _call(reward, parameters, completions, prompts, columns)
            per_reward[reward.name] = values
            errors = [first or second for first, second in zip(errors, raised, strict=True)]
        for values in per_reward.values():
            values[:] = [None if error else value for value, error in zip(values, errors, strict=True)]
        self._count(errors)
        return Scores(per_reward, self._totals(per_reward, len(completions)), errors)

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise UserError when a column that a reward needs is not among `columns`."""
        for reward, _ in self._rewards:
            _need_columns(reward, columns)

    def _totals(self, per_reward: dict[str, list[float | None]], rows: int) -> list[float | None]:
        totals: list[float | None] = []
        for row in range(rows):
            parts = [(spec.weight, per_reward[spec.name][row]) for spec in self.specs]
            weighted = [weight * value for weight, value in parts if value is not None]
            totals.append(sum(weighted) if weighted else None)
        return totals

    def _count(self, errors: list[str | None]) -> None:
        self.num_completions += len(errors)
        self.num_errors += sum(error is not None for error in errors)
        if self.num_completions >= MIN_COMPLETIONS and self.error_rate > self.max_error_rate:
            last = next((error for error in reversed(errors) if error), "in earlier batches")
            raise RewardErrors(
                f"{self.num_errors} of {self.num_completions} completions could not be scored "
                f"({self.error_rate:.1%}, max_error_rate is {self.max_error_rate:.1%}); the last error: {last}"
            )


def _reward(spec: Any) -> Reward:
    if spec.name not in REWARDS:
        close = difflib.get_close_matches(spec.name, REWARDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"rewards: {spec.name} is no reward, there are {', '.join(REWARDS)}{hint}")
    return REWARDS[spec.name]


def _parameters(spec: Any) -> dict[str, Any]:
    """Return all parameters of a spec's reward, defaults filled in and checked."""
    reward = REWARDS[spec.name]
    unknown = sorted(set(spec.params) - set(reward.parameters))
    if unknown:
        accepted = ", ".join(reward.parameters) or "none"
        raise UserError(f"rewards: {spec.name} has no parameter {unknown[0]}; accepted: {accepted}")
    parameters = {**reward.parameters, **spec.params}
    reward.check(parameters)
    return parameters


def _need_columns(reward: Reward, columns: Collection[str]) -> None:
    missing = [name for name in reward.columns if name not in columns]
    found = ", ".join(sorted(columns)) or "none"
    if missing:
        raise UserError(
            f"reward {reward.name} needs the column {missing[0]!r}; the data has {found}; "
            f"map yours with data.columns, for example columns: {{{missing[0]}: label}}"
        )


def _call(
    reward: Reward,
    parameters: dict[str, Any],
    completions: list[str],
    prompts: list[str],
    columns: dict[str, list[Any]],
) -> tuple[list[float | None], list[str | None]]:
    """Return (values, errors) of one reward: the batch at once, and row by row only if that raises."""
    try:
        values = reward.function(completions, prompts, **{**columns, **parameters})
        return [_checked(value) for value in _one_each(values, len(completions))], [None] * len(completions)
    except UserError:
        raise
    except Exception:  # A reward may raise anything; which rows do is found out below, counted and reported.
        pairs = [
            _call_row(reward, parameters, completions[row], prompts[row], {n: v[row] for n, v in columns.items()})
            for row in range(len(completions))
        ]
        return [value for value, _ in pairs], [error for _, error in pairs]


def _call_row(
    reward: Reward, parameters: dict[str, Any], completion: str, prompt: str, columns: dict[str, Any]
) -> tuple[float | None, str | None]:
    single = {name: [value] for name, value in columns.items()}
    try:
        values = reward.function([completion], [prompt], **{**single, **parameters})
        return _checked(_one_each(values, 1)[0]), None
    except Exception as error:  # Counted as an error of this completion.
        return None, f"{reward.name}: {type(error).__name__}: {error}"


def _one_each(values: Any, rows: int) -> list[Any]:
    values = list(values)
    if len(values) != rows:
        raise ValueError(f"returned {len(values)} values for {rows} completions")
    return values


def _checked(value: Any) -> float | None:
    """Return a reward as float or None; anything but a finite number is the reward's error."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"returned {number}, not a finite number")
    return number
