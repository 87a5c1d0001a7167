"""Curves of every training stage: which metrics share a chart, and in which order they appear."""

from collections.abc import Iterable
from typing import Any, TypeGuard

from training.metric_names import describe
from training.report.charts import Series, line_chart
from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, section

_LIKELIHOOD = (
    ("loss", "eval_loss"),
    ("mean_token_accuracy",),
    ("grad_norm",),
    ("learning_rate",),
    ("entropy",),
    ("experts/max_violation",),
    ("experts/dead_experts",),
)
CHARTS: dict[str, tuple[tuple[str, ...], ...]] = {
    "pretrain": _LIKELIHOOD,
    "sft": (*_LIKELIHOOD, ("eval_kl_from_start",)),
    "dpo": (
        ("loss", "eval_loss"),
        ("rewards/chosen", "rewards/rejected"),
        ("rewards/accuracies",),
        ("rewards/margins",),
        ("logps/chosen", "logps/rejected"),
        ("grad_norm",),
        ("eval_kl_from_start",),
    ),
    "reward_model": (
        ("loss", "eval_loss"),
        ("accuracy",),
        ("margin",),
        ("mean_reward", "min_reward", "max_reward"),
        ("grad_norm",),
    ),
    "grpo": (
        ("reward",),
        ("reward/*",),
        ("completions/mean_length",),
        ("reward_std",),
        ("frac_reward_zero_std", "groups/without_signal"),
        ("completions/clipped_ratio",),
        ("kl",),
        ("entropy",),
        ("loss",),
        ("grad_norm",),
    ),
}
SHARED = (("perf/tokens_per_s",),)
NOT_REWARDS = ("reward/error_rate",)


def curves_section(run: RunView) -> Markup | None:
    """The curves of every stage that has trained at least one step; None when none has."""
    parts: list[Markup] = []
    for number, stage in enumerate(stage for stage in run.stages if stage.kind == "base" or stage.trains):
        charts = stage_charts(stage, stage.metrics, number)
        if charts:
            steps = f"{len(stage.metrics):,} optimizer steps" + ("" if stage.state == "done" else ", unfinished")
            kind = "" if stage.kind == stage.name else f"{stage.kind}, "
            parts.append(element("h3", stage.name, element("small", f"{kind}{steps}")))
            parts.append(element("div", *charts, class_="grid"))
    lead = (
        "Thin: each optimizer step; of more than 300, a point is the mean of neighbouring steps, on a band from their "
        "lowest to their highest. Bold: centred moving average. Hover over a point for its numbers."
    )
    return section("curves", "Training curves", *parts, lead=lead) if parts else None


def stage_charts(stage: StageView, rows: list[dict[str, Any]], colour: int = 1) -> list[Markup]:
    """The charts of one stage, those with data only; a single line has the stage's colour, as in the results."""
    names = dict.fromkeys(name for row in rows for name in row)
    charts = []
    for wanted in (*CHARTS.get(stage.kind, ()), *SHARED):
        found = matching(wanted, names)
        series = [_series(rows, name, 1 + number if len(found) > 1 else colour) for number, name in enumerate(found)]
        series = [one for one in series if one.points]
        metric = describe(wanted[0])
        if series and metric is not None:
            charts.append(line_chart(metric.title, _unit(metric.unit, rows, found), series))
    return charts


def _unit(unit: str, rows: list[dict[str, Any]], names: list[str]) -> str:
    """The unit, and how many steps cannot be drawn since their value is NaN or infinite."""
    lost = sum(any(isinstance(row.get(name), float) and not _is_number(row[name]) for name in names) for row in rows)
    return ", ".join(part for part in (unit, f"{lost:,} steps not a finite number" if lost else "") if part)


def matching(wanted: Iterable[str], names: Iterable[str]) -> list[str]:
    """The metrics that were written, with `reward/*` opened; the order of `wanted` is kept."""
    found = []
    for pattern in wanted:
        prefix = pattern.removesuffix("*")
        found += [
            n for n in names if n == pattern or (prefix != pattern and n.startswith(prefix) and n not in NOT_REWARDS)
        ]
    return found


def metric_points(rows: list[dict[str, Any]], name: str) -> list[tuple[float, float]]:
    """(step, value) where the metric was logged as a finite number."""
    found = [(row.get("step"), row.get(name)) for row in rows]
    return [(float(step), float(value)) for step, value in found if _is_number(step) and _is_number(value)]


def _series(rows: list[dict[str, Any]], name: str, colour: int) -> Series:
    return Series(name.rsplit("/", 1)[-1] if "/" in name else name, metric_points(rows, name), colour)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and value == value and abs(value) != float("inf")
