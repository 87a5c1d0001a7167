"""Gates: has a stage gained enough over another model, judged on the same items?

Of several tasks (a leaderboard's average) each counts alike, however many items it has.

The rule: a gate is met when the gain is at least `min_gain` with probability `confidence`, that is when the
one-sided lower bound of the paired gain reaches `min_gain`. So `min_gain: 0.0` asks for proof of a gain, `min_gain:
-0.05` for proof that not more than 5 points were lost (non-inferiority), and `confidence: 0.5` compares the two
rates as measured.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.estimates import mean_difference, paired_difference

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
    child = _outcomes(child_items_path, gate.suite, METRIC_FIELDS[gate.metric])
    other = _outcomes(other_items_path, gate.suite, METRIC_FIELDS[gate.metric])
    if not child or child.keys() != other.keys():
        raise UserError(
            f"gate on {gate.suite}: {child_items_path} has {len(child)} of its items, {other_items_path} {len(other)}, "
            f"{len(child.keys() & other.keys())} in common; both models must be measured on the same ones"
        )
    items = sorted(child)
    suites = [[item for item in items if item[0] == suite] for suite in dict.fromkeys(item[0] for item in items)]
    # Both one-sided bounds at c are the two-sided interval at 2c - 1; below 0.5 the bound lies above the estimate.
    level = abs(2 * gate.confidence - 1)
    pairs = [([other[item] for item in each], [child[item] for item in each]) for each in suites]
    gain, low, high = paired_difference(*pairs[0], level) if len(pairs) == 1 else mean_difference(pairs, level)
    if gate.confidence < 0.5:
        low, high = high, low
    passed = low >= gate.min_gain
    return GateResult(passed, gain, low, high, len(items), _reason(gate, passed, gain, low, len(items)))


def _reason(gate: Any, passed: bool, gain: float, low: float, n: int) -> str:
    return (
        f"{gate.metric} on {gate.suite} changed by {100 * gain:+.1f} points over the {gate.over}, "
        f"at {100 * gate.confidence:g} % confidence by at least {100 * low:+.1f} (n={n}, paired), "
        f"{'which reaches' if passed else 'short of'} min_gain {100 * gate.min_gain:+.1f}"
    )


def _outcomes(path: Path, suite: str, column: str) -> dict[tuple[str, str], float]:
    """(suite, item) -> value; a benchmark's name stands for all its tasks, whose rows say NAME/TASK."""
    rows = (json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line.strip())
    own = [row for row in rows if row["suite"] == suite or row["suite"].startswith(f"{suite}/")]
    return {(row["suite"], row["item"]): row[column] for row in own}
