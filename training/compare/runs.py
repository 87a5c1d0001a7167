"""The runs that are compared, each with a name short enough for a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from training.report.collect import RunView, StageView, read_run
from training.summary import Summary, summarise_view


@dataclass(frozen=True)
class NamedRun:
    """A run and what it is called beside the others."""

    label: str
    view: RunView
    summary: Summary

    @property
    def missing(self) -> list[str]:
        """What is broken, gone or not finished, a sentence each."""
        return [*self.summary.damage, *self.summary.missing]

    def stage(self, name: str) -> StageView | None:
        """The stage of that name, or None."""
        return self.view.stage(name)


def open_runs(paths: Sequence[Path]) -> list[NamedRun]:
    """Read run folders in the order given; raises UserError for one that is no run."""
    views = [read_run(path) for path in paths]
    return [NamedRun(label, view, summarise_view(view)) for label, view in zip(labels(paths), views, strict=True)]


def labels(paths: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart; a run given twice is numbered."""
    parts = [path.resolve().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    names = ["/".join(part[-depth:]) for part in parts]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def stage_names(runs: Sequence[NamedRun]) -> list[str]:
    """Every stage of any run, in the first run's order, others' own behind them."""
    return list(dict.fromkeys(stage.name for run in runs for stage in run.view.stages))
