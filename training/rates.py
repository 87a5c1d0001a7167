"""Rates over the rows of items.jsonl, as they stand in the metrics of suites, benchmarks and `generalisation`."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from training.estimates import pass_at_k, wilson_interval

Rows = Sequence[dict[str, Any]]


def accuracy(rows: Rows) -> dict[str, Any]:
    """The share of right answers with its Wilson interval, and the number of rows."""
    n, right = len(rows), sum(row["correct"] for row in rows)
    return {"accuracy": right / n, "ci95": list(wilson_interval(right, n)), "n": n}


def lengths(rows: Rows) -> dict[str, Any]:
    """The mean tokens of an answer, and the share of answers that the limit cut."""
    n = len(rows)
    return {
        "mean_tokens": sum(row["tokens"] for row in rows) / n,
        "truncated": sum(row["truncated"] for row in rows) / n,
    }


def by_family(rows: Rows) -> dict[str, Any]:
    """Accuracy and number of rows of each family; "all" for rows without one."""
    families: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        families[row["family"] or "all"].append(row["correct"])
    return {"families": {name: {"accuracy": sum(c) / len(c), "n": len(c)} for name, c in sorted(families.items())}}


def mean_pass_at_k(rows: Rows, draws: int, k: int) -> float:
    """pass@k by the unbiased estimator, averaged over rows of so many draws each."""
    return sum(pass_at_k(draws, sum(draw["correct"] for draw in row["draws"]), k) for row in rows) / len(rows)
