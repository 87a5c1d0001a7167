"""Dashboards as code: which metrics stand together for each kind of training stage, whatever tracker draws them.

Everything is taken from METRICS and from the pipeline (its rewards, its probes' suites), so a panel never asks for what
no stage logs. `training.wandb_dashboard` makes W&B workspaces of this.
"""

from dataclasses import dataclass
from typing import Any

from training.metric_names import METRICS, describe
from training.report.curves import CHARTS


@dataclass(frozen=True)
class Panel:
    """Metrics in one chart over optimizer steps; `stacked` for parts of a whole."""

    title: str
    unit: str
    metrics: tuple[str, ...]
    stacked: bool = False


@dataclass(frozen=True)
class Board:
    """The dashboard of one kind of stage: panels by section, in reading order."""

    name: str
    pipeline: str
    kind: str
    sections: dict[str, list[Panel]]


HEALTH = (
    ("health/alarms",),
    ("groups/without_signal", "frac_reward_zero_std"),
    ("completions/duplicate_share",),
    ("reward/error_rate",),
    ("entropy",),
    ("grad_norm",),
    ("rewards/length_correlation",),
)
LENGTHS = (
    ("completions/mean_length", "completions/min_length", "completions/max_length"),
    ("completions/mean_terminated_length",),
    ("completions/clipped_ratio",),
)
PARITY = (("parity/mean_kl",), ("parity/max_abs_logp_diff",), ("kl",))
THROUGHPUT = (
    ("perf/tokens_per_s",),
    ("perf/samples_per_s",),
    ("perf/scored_per_s",),
    ("perf/mfu",),
    ("perf/padding_share",),
    ("perf/peak_memory_gb",),
)
NOT_PHASES = ("timing_s/step",)


def boards(pipeline: Any) -> list[Board]:
    """One board for each kind of training stage in the pipeline, in pipeline order."""
    by_kind: dict[str, list[Any]] = {}
    for stage in pipeline.stages:
        if stage.kind in CHARTS:
            by_kind.setdefault(stage.kind, []).append(stage)
    return [_board(pipeline.name, kind, stages) for kind, stages in by_kind.items()]


def _board(pipeline: str, kind: str, stages: list[Any]) -> Board:
    rewards = list(dict.fromkeys(f"reward/{spec.name}" for stage in stages for spec in getattr(stage, "rewards", [])))
    asked = [probe.suites for stage in stages if (probe := getattr(stage, "probe", None))]
    probes = list(dict.fromkeys(f"probe/{suite}/accuracy" for suites in asked for suite in suites))
    learning = [names for names in CHARTS[kind] if names != ("reward/*",)]
    sections = {
        "Learning": [*_panels(kind, learning), *_own("Accuracy on held-out questions", "share", probes)],
        "Rewards": _own("Rewards by name", "reward", rewards),
        "Lengths": _panels(kind, LENGTHS),
        "Parity": _panels(kind, PARITY) if kind == "grpo" else [],
        "Health": _panels(kind, HEALTH),
        "Step time": [_phases(kind), *_panels(kind, [("timing_s/step",), ("rank/slowest",)])],
        "Throughput": _panels(kind, THROUGHPUT),
    }
    named = {title: panels for title, panels in sections.items() if panels}
    return Board(f"{pipeline}: {kind}", pipeline, kind, named)


def _panels(kind: str, wanted: Any) -> list[Panel]:
    """A panel for each group of metrics that stages of this kind write, titled by its first."""
    panels = []
    for group in wanted:
        names = tuple(name for name in group if (metric := describe(name)) is not None and kind in metric.kinds)
        first = describe(names[0]) if names else None
        if first is not None:
            panels.append(Panel(first.title, first.unit, names))
    return panels


def _own(title: str, unit: str, names: list[str]) -> list[Panel]:
    return [Panel(title, unit, tuple(names))] if names else []


def _phases(kind: str) -> Panel:
    """Where the seconds of a step go: every phase that this kind has, and the unaccounted rest, stacked."""
    names = [name for name, metric in METRICS.items() if name.startswith("timing_s/") and kind in metric.kinds]
    return Panel("Where a step's seconds go", "s", tuple(name for name in names if name not in NOT_PHASES), True)


def outline(board: Board) -> str:
    """The board in words: sections, panels, their metrics."""
    lines = [f"{board.name} (runs of kind {board.kind} in the group {board.pipeline})"]
    for title, panels in board.sections.items():
        lines.append(f"  {title}")
        for panel in panels:
            how = ", stacked" if panel.stacked else ""
            lines.append(
                f"    {panel.title}{f' [{panel.unit}]' if panel.unit else ''}{how}: {', '.join(panel.metrics)}"
            )
    return "\n".join(lines)
