"""Which phase of a step got slower, and by how much: two ledgers of the same stage, step by step.

A step's seconds are those of metrics.jsonl (`timing_s/*`, mean over ranks). The first step of a stage warms up and is
left out where there are more than two. Intervals are Welch's, normal, at 95 %: they take steps as independent, so a
machine that slows down for minutes makes them too narrow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, stdev
from typing import Any

from training.compare.runs import NamedRun, stage_names
from training.ledger import PHASES
from training.report.collect import StageView
from training.report.time_spent import account_of

CONFIDENCE = 0.95
WARM_UP_STEPS = 1


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation of `n` steps, in seconds."""

    mean: float
    deviation: float
    n: int


@dataclass(frozen=True)
class PhaseChange:
    """A phase in two runs; `low` and `high` bound the difference of the means in seconds a step."""

    phase: str
    before: Spread
    after: Spread
    low: float
    high: float

    @property
    def seconds(self) -> float:
        """How much longer the phase takes in a step."""
        return self.after.mean - self.before.mean

    @property
    def share(self) -> float | None:
        """The same as a share of what it took before; None where that was nothing."""
        return self.seconds / self.before.mean if self.before.mean else None

    @property
    def verdict(self) -> str:
        """`slower`, `faster` or `no measurable change`."""
        if self.low <= 0 <= self.high:
            return "no measurable change"
        return "slower" if self.seconds > 0 else "faster"


@dataclass(frozen=True)
class StageSeconds:
    """A stage in `run` and `against`: the whole step, its phases by the size of their change, and what a step did.

    `tokens` are unpadded tokens a step, before and after; None where a run has not logged them.
    """

    stage: str
    run: str
    against: str
    step: PhaseChange
    phases: list[PhaseChange]
    tokens: tuple[float, float] | None

    @property
    def words(self) -> str:
        """One sentence: how much slower a step is, which phase it comes from, and whether a step has more to do."""
        step = self.step
        share = "" if step.share is None else f", {100 * step.share:+.0f} %"
        interval = f"95 % interval {step.low:+.2f} to {step.high:+.2f}"
        text = f"{self.stage}: a step takes {step.after.mean:.2f} s, {step.before.mean:.2f} s in {self.against}"
        text += f" ({step.seconds:+.2f} s{share}, {interval}): {step.verdict}"
        moved = [one for one in self.phases if one.verdict == step.verdict and one.phase != "unaccounted"]
        if step.verdict != "no measurable change" and moved:
            text += f", mostly {moved[0].phase} ({moved[0].seconds:+.2f} s)"
        if self.tokens is not None and self.tokens[0]:
            more = self.tokens[1] / self.tokens[0] - 1
            if abs(more) >= 0.05:
                text += f"; a step has {100 * abs(more):.0f} % {'more' if more > 0 else 'fewer'} tokens"
        return text


@dataclass(frozen=True)
class StageTotal:
    """Wall seconds of a stage by run, loading and saving included; unfinished stages so far."""

    stage: str
    wall_s: dict[str, float]


def stage_seconds(runs: Sequence[NamedRun]) -> list[StageSeconds]:
    """Every training stage that at least two steps of both the run and the first run have logged."""
    found = []
    for run in runs[1:]:
        for name in stage_names(runs):
            before, after = _timed_rows(runs[0].stage(name)), _timed_rows(run.stage(name))
            if len(before) > 1 and len(after) > 1:
                found.append(_stage(name, run.label, runs[0].label, before, after))
    return found


def stage_totals(runs: Sequence[NamedRun]) -> list[StageTotal]:
    """The wall seconds of every stage that has a ledger in some run."""
    found = []
    for name in stage_names(runs):
        accounts = {run.label: account_of(stage) for run in runs if (stage := run.stage(name)) is not None}
        wall = {label: account.wall_s for label, account in accounts.items() if account is not None}
        if wall:
            found.append(StageTotal(name, wall))
    return found


def _timed_rows(stage: StageView | None) -> list[dict[str, Any]]:
    rows = [] if stage is None else [row for row in stage.metrics if row.get("timing_s/step")]
    return rows[WARM_UP_STEPS:] if len(rows) > 2 else rows


def _stage(
    name: str, run: str, against: str, before: list[dict[str, Any]], after: list[dict[str, Any]]
) -> StageSeconds:
    phases = [_change(phase, before, after) for phase in (*PHASES, "unaccounted")]
    phases = [one for one in phases if one.before.mean or one.after.mean]
    phases.sort(key=lambda one: -abs(one.seconds))
    tokens = (_tokens(before), _tokens(after))
    known = None if None in tokens else (tokens[0] or 0.0, tokens[1] or 0.0)
    return StageSeconds(name, run, against, _change("step", before, after), phases, known)


def _change(phase: str, before: list[dict[str, Any]], after: list[dict[str, Any]]) -> PhaseChange:
    first, second = _spread(phase, before), _spread(phase, after)
    error = math.sqrt(first.deviation**2 / first.n + second.deviation**2 / second.n)
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * error
    gain = second.mean - first.mean
    return PhaseChange(phase, first, second, gain - half, gain + half)


def _spread(phase: str, rows: list[dict[str, Any]]) -> Spread:
    values = [float(row.get(f"timing_s/{phase}") or 0.0) for row in rows]
    return Spread(fmean(values), stdev(values), len(values))


def _tokens(rows: list[dict[str, Any]]) -> float | None:
    values = [row["perf/tokens_per_s"] * row["timing_s/step"] for row in rows if row.get("perf/tokens_per_s")]
    return fmean(values) if values else None
