"""Learning curves of the same stage in several runs: what is drawn over one another, and where each began and ended."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from training.compare.runs import NamedRun, stage_names
from training.metric_names import describe
from training.report.charts import Series
from training.report.collect import StageView
from training.report.curves import CHARTS, SHARED, matching, metric_points

_LIKELIHOOD = ("loss", "eval_loss", "mean_token_accuracy")
HEADLINES = {
    "pretrain": _LIKELIHOOD,
    "sft": _LIKELIHOOD,
    "dpo": ("loss", "rewards/accuracies", "rewards/margins"),
    "grpo": ("reward", "completions/mean_length", "groups/without_signal"),
    "reward_model": ("loss", "accuracy"),
}
"""The metrics of which the terminal shows begin and end, by kind; a page has all charts."""
END_SHARE = 10
"""Begin and end are means over this part of the steps: a tenth, at least one."""


@dataclass(frozen=True)
class Overlay:
    """One metric of a stage over optimizer steps, one series a run."""

    stage: str
    metric: str
    title: str
    unit: str
    series: list[Series]


@dataclass(frozen=True)
class Ends:
    """A metric at the beginning and the end of a stage, by run: (mean of the first tenth of the steps, of the last)."""

    stage: str
    metric: str
    by_run: dict[str, tuple[float, float]]
    steps: dict[str, int]


def overlays(runs: Sequence[NamedRun]) -> list[Overlay]:
    """A chart for every metric of the report's that at least one run has logged."""
    found = []
    for name in stage_names(runs):
        kind = _kind(name, runs)
        rows = {run.label: _rows(run.stage(name)) for run in runs}
        names = dict.fromkeys(metric for own in rows.values() for row in own for metric in row)
        for pattern in dict.fromkeys(one for chart in (*CHARTS.get(kind, ()), *SHARED) for one in chart):
            for metric in matching([pattern], names):
                series = [
                    Series(label, points, 1 + place)
                    for place, (label, own) in enumerate(rows.items())
                    if (points := metric_points(own, metric))
                ]
                about = describe(metric)
                if series and about is not None:
                    title = metric if "*" in pattern else about.title
                    found.append(Overlay(name, metric, title, about.unit, series))
    return found


def ends(runs: Sequence[NamedRun]) -> list[Ends]:
    """Begin and end of each stage's headline metrics."""
    found = []
    for name in stage_names(runs):
        for metric in HEADLINES.get(_kind(name, runs), ()):
            points = {run.label: metric_points(_rows(run.stage(name)), metric) for run in runs}
            by_run = {label: _ends([y for _, y in own]) for label, own in points.items() if own}
            if by_run:
                found.append(Ends(name, metric, by_run, {label: len(own) for label, own in points.items() if own}))
    return found


def _ends(values: list[float]) -> tuple[float, float]:
    few = max(1, len(values) // END_SHARE)
    return fmean(values[:few]), fmean(values[-few:])


def _rows(stage: StageView | None) -> list[dict[str, Any]]:
    return [] if stage is None else stage.metrics


def _kind(name: str, runs: Sequence[NamedRun]) -> str:
    return next(stage.kind for run in runs if (stage := run.stage(name)) is not None)
