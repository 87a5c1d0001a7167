"""Scoring of a batch by all rewards at once, in worker processes, and what happens when a reward fails.

An exception, a crash or a time limit makes the whole completion unscorable: every reward of it becomes None, because
TRL sums with nansum and a single None would count as 0. It is counted, and when too many completions are unscorable
the run stops (exit code 4).
"""

import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from training.rewards.pool import NOT_SCORED, Limits, Outcome, RowsDone, WorkerPool
from training.rewards.resolve import reward_of, worker_spec
from training.rewards.reward import Reward

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
    """The rewards of one stage on one rank, the workers that compute them, and the count of what they could not score.

    `num_scored` and `seconds` are of this process, for the throughput; a resumed stage goes on with `num_completions`
    and `num_errors` of the interrupted one.
    """

    def __init__(
        self,
        specs: Sequence[Any],
        max_error_rate: float,
        limits: Limits | None = None,
        rows_done: RowsDone = lambda rows: None,
    ) -> None:
        """`specs` are RewardSpecs; raises UserError for unknown rewards and bad parameters. Starts no process.

        `rows_done` hears how many completions were scored while a batch is under way.
        """
        self.specs = list(specs)
        self.max_error_rate = max_error_rate
        self.num_completions = 0
        self.num_errors = 0
        self.num_scored = 0
        self.seconds = 0.0
        self._last_error = "in earlier batches"  # a batch that is broken off at once has none of its own
        self._limits, self._rows_done = limits or Limits(), rows_done
        self._pool: WorkerPool | None = None
        self._rewards = [reward_of(spec) for spec in self.specs]
        names = [spec.name for spec in self.specs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if not names or twice:
            raise UserError(f"rewards: {twice[0]} is listed twice" if twice else "rewards is empty; list at least one")

    @property
    def error_rate(self) -> float:
        """Unscorable completions over all completions so far."""
        return self.num_errors / self.num_completions if self.num_completions else 0.0

    def start(self) -> WorkerPool:
        """Start the workers, so that they load the rewards beside what the caller does; `score` starts them too."""
        if self._pool is None:
            self._pool = WorkerPool([worker_spec(spec) for spec in self.specs], self._limits, self._rows_done)
        return self._pool

    def close(self) -> None:
        """End the workers; a later `score` starts others."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def score(self, completions: list[str], prompts: list[str], columns: dict[str, list[Any]]) -> Scores:
        """Score a batch; `prompts` and every column have one entry a completion.

        Raises RewardErrors once more than `max_error_rate` of all completions so far (at least 20) are unscorable, and
        UserError when a column that a reward needs is not there.
        """
        for reward in self._rewards:
            _need_columns(reward, columns)
        rows = [
            [completion, prompt, {name: values[place] for name, values in columns.items()}]
            for place, (completion, prompt) in enumerate(zip(completions, prompts, strict=True))
        ]
        outcomes = self._outcomes(rows)
        errors = [outcome.error for outcome in outcomes]
        per_reward: dict[str, list[float | None]] = {
            spec.name: [None if each.error else each.values[place] for each in outcomes]
            for place, spec in enumerate(self.specs)
        }
        self._count(errors)
        return Scores(per_reward, weighted_totals(per_reward, {spec.name: spec.weight for spec in self.specs}), errors)

    def add_errors(self, errors: Sequence[str]) -> None:
        """Count completions of the batch scored last that something beside the rewards could not score."""
        self.num_errors += len(errors)
        self._last_error = errors[-1] if errors else self._last_error
        check_error_rate(self.num_errors, self.num_completions, self.max_error_rate, "scored", self._last_error)

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise UserError when a column that a reward needs is not among `columns`."""
        for reward in self._rewards:
            _need_columns(reward, columns)

    def _outcomes(self, rows: list[list[Any]]) -> list[Outcome]:
        began = time.perf_counter()
        try:
            return self.start().score(rows, self._errors_allowed(len(rows)))
        except BaseException:  # workers in the middle of a batch would answer to the next one
            self.close()
            raise
        finally:
            self.num_scored += len(rows)
            self.seconds += time.perf_counter() - began

    def _errors_allowed(self, rows: int) -> int | None:
        """Errors that a batch may have before the run is sure to stop; None while none can make it stop."""
        whole = self.num_completions + rows
        return None if whole < MIN_COMPLETIONS else int(self.max_error_rate * whole + 1e-9) - self.num_errors

    def _count(self, errors: list[str | None]) -> None:
        self.num_completions += len(errors)
        self.num_errors += sum(error is not None for error in errors)
        raised = [error for error in errors if error is not None and error != NOT_SCORED]
        self._last_error = raised[-1] if raised else self._last_error
        check_error_rate(self.num_errors, self.num_completions, self.max_error_rate, "scored", self._last_error)


def weighted_totals(
    per_reward: Mapping[str, Sequence[float | None]], weights: Mapping[str, float]
) -> list[float | None]:
    """Return the weighted sum of each completion's rewards that apply; None where none does."""
    totals: list[float | None] = []
    for values in zip(*per_reward.values(), strict=True):
        weighted = [weights[name] * value for name, value in zip(per_reward, values, strict=True) if value is not None]
        totals.append(sum(weighted) if weighted else None)
    return totals


def check_error_rate(errors: int, completions: int, most: float, done: str, last: str) -> None:
    """Raise RewardErrors where more than the share `most` of at least 20 completions could not be `done`."""
    if completions >= MIN_COMPLETIONS and errors / completions > most:
        raise RewardErrors(
            f"{errors} of {completions} completions could not be {done} "
            f"({errors / completions:.1%}, max_error_rate is {most:.1%}); the last error: {last}"
        )


def _need_columns(reward: Reward, columns: Collection[str]) -> None:
    missing = [name for name in reward.columns if name not in columns]
    found = ", ".join(sorted(columns)) or "none"
    if missing:
        raise UserError(
            f"reward {reward.name} needs the column {missing[0]!r}; the data has {found}; "
            f"map yours with data.columns, for example columns: {{{missing[0]}: label}}"
        )
