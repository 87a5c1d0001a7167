"""Gates: has a stage gained enough over another model, judged on the same items?

Of several tasks (a leaderboard's average) each counts alike, however many items it has, and so do the subjects of a
task whose rows name one.

The rule: a gate is met when the gain is at least `min_gain` with probability `confidence`, that is when the
one-sided lower bound of the paired gain reaches `min_gain`. So `min_gain: 0.0` asks for proof of a gain, `min_gain:
-0.05` for proof that not more than 5 points were lost (non-inferiority), and `confidence: 0.5` compares the two
rates as measured.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.config.benchmarks import H6
from training.estimates import mean_of, paired_difference

METRIC_FIELDS = {"accuracy": "correct", "format_rate": "format"}
"""The field of items.jsonl (0 or 1) of which each metric is the mean."""


@dataclass(frozen=True)
class GateResult:
    """The decision: the gain (difference of rates) and its one-sided bounds at the gate's confidence, over `n`
    items.
    """

    passed: bool
    gain: float
    low: float
    high: float
    n: int
    reason: str


def decide(gate: Any, child_items_path: Path, other_items_path: Path) -> GateResult:
    """Decide `gate` (suite, metric, over, min_gain, confidence) on two items.jsonl, paired on the item.

    Raises UserError when the two do not hold the same items of the suite, since then nothing can be paired.
    """
    column = METRIC_FIELDS[gate.metric]
    child, other = _rows(child_items_path, gate.suite), _rows(other_items_path, gate.suite)
    if not child or child.keys() != other.keys():
        raise UserError(
            f"gate on {gate.suite}: {child_items_path} has {len(child)} of its items, {other_items_path} {len(other)}, "
            f"{len(child.keys() & other.keys())} in common; both models must be measured on the same ones"
        )
    # Both one-sided bounds at c are the two-sided interval at 2c - 1; below 0.5 the bound lies above the estimate.
    level = abs(2 * gate.confidence - 1)
    by_suite: dict[str, list[tuple[str, str]]] = {}
    for item in sorted(child):
        by_suite.setdefault(item[0], []).append(item)
    gain, low, high = mean_of(
        [
            paired_gain([other[item] for item in items], [child[item] for item in items], column, level)
            for items in by_suite.values()
        ]
    )
    if gate.confidence < 0.5:
        low, high = high, low
    passed = low >= gate.min_gain
    return GateResult(passed, gain, low, high, len(child), _reason(gate, passed, gain, low, len(child)))


def _reason(gate: Any, passed: bool, gain: float, low: float, n: int) -> str:
    return (
        f"{gate.metric} on {gate.suite} changed by {100 * gain:+.1f} points over the {gate.over}, "
        f"at {100 * gate.confidence:g} % confidence by at least {100 * low:+.1f} (n={n}, paired), "
        f"{'which reaches' if passed else 'short of'} min_gain {100 * gate.min_gain:+.1f}"
    )


def paired_gain(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]], column: str, confidence: float
) -> tuple[float, float, float]:
    """Return (gain, low, high) on one suite or task from its rows, in the same order; subjects count alike."""
    subjects: dict[str | None, tuple[list[float], list[float]]] = {}
    for first, second in zip(before, after, strict=True):
        old, new = subjects.setdefault(second.get("subject"), ([], []))
        old.append(first[column])
        new.append(second[column])
    return mean_of([paired_difference(old, new, confidence) for old, new in subjects.values()])


def _rows(path: Path, suite: str) -> dict[tuple[str, str], dict[str, Any]]:
    """(suite, item) -> row; a benchmark's name stands for the tasks of its average, whose rows say NAME/TASK."""
    own = {suite, *(f"{suite}/{task}" for task in H6)}
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    return {(row["suite"], row["item"]): row for row in rows if row["suite"] in own}
