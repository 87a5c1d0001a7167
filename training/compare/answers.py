"""Accuracy of one run's models against another's, paired on the questions that both were asked.

Two runs may number different questions alike, so a pair needs the same item, the same prompt and the same answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from training.compare.runs import NamedRun
from training.summary import Comparison, SuiteScore, evaluations_by_suite, item_rows, paired


@dataclass(frozen=True)
class SuitePair:
    """A model of `run` and one of `against` on a suite; `paired` is None where no question is the same.

    `gained` and `lost` count the questions that only the one answered right, `alone` those that only one was asked, or
    that stand under one name with another prompt or answer.
    """

    run: str
    against: str
    model: str
    other: str
    suite: str
    score: SuiteScore
    other_score: SuiteScore
    paired: Comparison | None
    gained: int
    lost: int
    alone: int


def suite_pairs(runs: Sequence[NamedRun]) -> list[SuitePair]:
    """Each run's models against the first run's of the same name; where the last measured models have other names,
    these too."""
    first = _Measured(runs[0])
    return [pair for run in runs[1:] for pair in _against(first, _Measured(run))]


def _against(before: "_Measured", after: "_Measured") -> list[SuitePair]:
    models = [(name, name) for name in after.scores if name in before.scores]
    ends = [list(side.scores)[-1:] for side in (after, before)]
    if all(ends) and ends[0] != ends[1]:
        models.append((ends[0][0], ends[1][0]))
    found = []
    for model, other in models:
        for suite, score in after.scores[model].items():
            if suite in before.scores[other]:
                found.append(_pair(before, after, (model, other, suite), score))
    return found


class _Measured:
    """The scores and item rows of a run's measured models."""

    def __init__(self, run: NamedRun) -> None:
        self.label = run.label
        self.scores = {row.name: row.scores for row in run.summary.rows if row.scores}
        self.items = {name: item_rows(evaluations_by_suite(run.view, name)) for name in self.scores}


def _pair(before: _Measured, after: _Measured, names: tuple[str, str, str], score: SuiteScore) -> SuitePair:
    model, other, suite = names
    mine, theirs = after.items[model].get(suite, {}), before.items[other].get(suite, {})
    shared = [item for item, row in mine.items() if item in theirs and _question(row) == _question(theirs[item])]
    comparison = paired(
        (f"{after.label}: {model}", f"{before.label}: {other}"),
        suite,
        {item: mine[item] for item in shared},
        {item: theirs[item] for item in shared},
    )
    changes = [int(mine[item]["correct"]) - int(theirs[item]["correct"]) for item in shared]
    return SuitePair(
        *(after.label, before.label),
        *(model, other, suite),
        *(score, before.scores[other][suite]),
        comparison,
        *(changes.count(1), changes.count(-1)),
        len(mine.keys() | theirs.keys()) - len(shared),
    )


def _question(row: dict[str, Any]) -> tuple[Any, Any]:
    return row.get("prompt"), row.get("answer")
