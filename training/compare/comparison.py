"""Everything that a comparison of runs says, gathered once for the terminal, the page and JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.compare.answers import SuitePair, suite_pairs
from training.compare.learning import Ends, ends
from training.compare.runs import NamedRun, open_runs
from training.compare.settings import (
    Difference,
    StageMatch,
    config_differences,
    data_differences,
    environment_differences,
    stage_matches,
)
from training.compare.step_seconds import StageSeconds, StageTotal, stage_seconds, stage_totals

COMPARISON_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RunsCompared:
    """The first run is the one the others are compared with."""

    runs: list[NamedRun]
    config: list[Difference]
    environment: list[Difference]
    stages: list[StageMatch]
    data: dict[str, list[Difference]]
    accuracy: list[SuitePair]
    learning: list[Ends]
    seconds: list[StageSeconds]
    totals: list[StageTotal]

    @property
    def labels(self) -> list[str]:
        """What the runs are called, in order."""
        return [run.label for run in self.runs]

    @property
    def missing(self) -> dict[str, list[str]]:
        """What is broken, gone or not finished, by run, a sentence each."""
        return {run.label: run.missing for run in self.runs}


def compare_runs(paths: Sequence[Path]) -> RunsCompared:
    """Read and compare run folders; raises UserError for fewer than two, and for a folder that is no run."""
    if len(paths) < 2:
        raise UserError("compare needs at least two runs, or the folder of a sweep; give RUN_A RUN_B [...]")
    runs = open_runs(paths)
    return RunsCompared(
        runs,
        config_differences(runs),
        environment_differences(runs),
        stage_matches(runs),
        data_differences(runs),
        suite_pairs(runs),
        ends(runs),
        stage_seconds(runs),
        stage_totals(runs),
    )


def comparison_json(compared: RunsCompared) -> dict[str, Any]:
    """The comparison as plain JSON: seconds in s, shares from 0 to 1, intervals 95 %."""
    return {
        "schema_version": COMPARISON_SCHEMA_VERSION,
        "runs": [
            {
                "label": run.label,
                "name": run.view.name,
                "path": str(run.view.path),
                "missing": run.missing,
            }
            for run in compared.runs
        ],
        "config": [asdict(one) for one in compared.config],
        "environment": [asdict(one) for one in compared.environment],
        "stages": [asdict(one) | {"same_experiment": one.same_experiment} for one in compared.stages],
        "data": {name: [asdict(one) for one in found] for name, found in compared.data.items()},
        "accuracy": [_accuracy(one) for one in compared.accuracy],
        "learning": [asdict(one) for one in compared.learning],
        "step_seconds": [_seconds(one) for one in compared.seconds],
        "wall_s": {one.stage: one.wall_s for one in compared.totals},
    }


def _accuracy(pair: SuitePair) -> dict[str, Any]:
    content = asdict(pair)
    for side in ("score", "other_score"):
        content[side] = {key: content[side][key] for key in ("accuracy", "ci95", "n", "format_rate")}
    if pair.paired is not None:
        content["paired"] |= {"verdict": pair.paired.verdict}
    return content


def _seconds(stage: StageSeconds) -> dict[str, Any]:
    content = asdict(stage)
    for phase, found in zip(content["phases"], stage.phases, strict=True):
        phase |= {"seconds": found.seconds, "verdict": found.verdict}
    content["step"] |= {"seconds": stage.step.seconds, "verdict": stage.step.verdict}
    return content
