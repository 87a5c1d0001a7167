"""Gates: the one-sided lower bound of the paired gain against min_gain."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.errors import UserError
from training.estimates import paired_difference
from training.gates import decide


def gate(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(
        **{
            "suite": "in_domain",
            "metric": "accuracy",
            "over": "parent",
            "min_gain": 0.0,
            "confidence": 0.95,
            **changes,
        }
    )


def write_items(path: Path, correct: list[int], suite: str = "in_domain", format_rate: int = 1) -> Path:
    rows = [
        {"suite": suite, "item": f"gcd/{number}", "correct": value, "format": format_rate}
        for number, value in enumerate(correct)
    ]
    rows.append({"suite": "another", "item": "gcd/0", "correct": 0, "format": 0})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return write_items(tmp_path / "other.jsonl", [0] * 60 + [1] * 40)


def test_gate_clear_gain_is_met(tmp_path: Path, other: Path) -> None:
    result = decide(gate(), write_items(tmp_path / "child.jsonl", [0] * 30 + [1] * 70), other)
    assert result.passed
    assert (result.gain, result.n) == (pytest.approx(0.3), 100)
    assert 0 < result.low < 0.3 < result.high


def test_gate_gain_within_the_noise_is_not_met(tmp_path: Path, other: Path) -> None:
    result = decide(gate(), write_items(tmp_path / "child.jsonl", [0] * 59 + [1] * 41), other)
    assert not result.passed
    assert result.gain == pytest.approx(0.01)
    assert "short of" in result.reason


def test_gate_half_confidence_compares_the_measured_rates(tmp_path: Path, other: Path) -> None:
    """At confidence 0.5 the one-sided bound is the estimate: a gain of 1 point reaches 0, and equal rates reach 0
    too.
    """
    child = write_items(tmp_path / "child.jsonl", [0] * 59 + [1] * 41)
    result = decide(gate(confidence=0.5), child, other)
    assert result.passed
    assert result.low == pytest.approx(result.gain)
    assert decide(gate(confidence=0.5), other, other).passed
    assert not decide(gate(confidence=0.5, min_gain=0.02), child, other).passed


def test_gate_negative_min_gain_allows_a_small_loss_only(tmp_path: Path, other: Path) -> None:
    small = write_items(tmp_path / "small.jsonl", [0] * 61 + [1] * 39)
    large = write_items(tmp_path / "large.jsonl", [0] * 80 + [1] * 20)
    assert decide(gate(min_gain=-0.1), small, other).passed
    assert not decide(gate(min_gain=-0.1), large, other).passed


def test_gate_bound_is_one_sided_at_its_confidence(tmp_path: Path, other: Path) -> None:
    """A one-sided 95 % bound is the lower end of the two-sided 90 % interval."""
    child = [0] * 45 + [1] * 55
    result = decide(gate(), write_items(tmp_path / "child.jsonl", child), other)
    expected = paired_difference([0] * 60 + [1] * 40, child, 0.9)
    assert (result.gain, result.low, result.high) == pytest.approx(expected)


def test_gate_pairs_by_item_and_not_by_line(tmp_path: Path) -> None:
    one, two = tmp_path / "one.jsonl", tmp_path / "two.jsonl"
    rows = [{"suite": "in_domain", "item": f"gcd/{n}", "correct": n % 2, "format": 1} for n in range(50)]
    one.write_text("".join(json.dumps(row) + "\n" for row in rows))
    two.write_text("".join(json.dumps(row) + "\n" for row in reversed(rows)))
    result = decide(gate(), one, two)
    assert result.high < 0.05, "the same answers to the same questions leave little doubt"


def test_gate_format_rate_reads_the_format_column(tmp_path: Path) -> None:
    child = write_items(tmp_path / "child.jsonl", [0] * 50, format_rate=1)
    parent = write_items(tmp_path / "parent.jsonl", [1] * 50, format_rate=0)
    assert decide(gate(metric="format_rate"), child, parent).gain == 1.0


def test_gate_other_items_are_refused(tmp_path: Path, other: Path) -> None:
    with pytest.raises(UserError, match=r"40 of its items, .* 100, 40 in common"):
        decide(gate(), write_items(tmp_path / "child.jsonl", [1] * 40), other)
    with pytest.raises(UserError, match="0 of its items"):
        decide(gate(suite="absent"), other, other)
