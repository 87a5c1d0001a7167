"""Rates of a suite by hand: greedy accuracy, format, families, pass@k and maj@k over the draws."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import training.rollout
from tests.stage_runs import run_stage, write_pipeline
from training.decode import interleave, mine
from training.evaluate import judge, sampled_metrics, suite_metrics


def row(family: str, correct: int, formatted: int, draws: list[str], answer: str = "7") -> dict:
    return {
        "family": family,
        "correct": correct,
        "format": formatted,
        "tokens": 10,
        "truncated": False,
        "answer": answer,
        "draws": [{"completion": text, "correct": int(text == f"<answer>{answer}</answer>")} for text in draws],
    }


RIGHT, WRONG = "<answer>7</answer>", "<answer>8</answer>"


def test_suite_metrics_count_by_suite_and_family() -> None:
    """3 of 4 right; Wilson 95 % for 3/4 is 0.3006 to 0.9544 (Wilson 1927, z = 1.959964)."""
    rows = [row("a", 1, 1, []), row("a", 0, 1, []), row("b", 1, 0, []), row("b", 1, 1, [])]
    metrics = suite_metrics(rows, SimpleNamespace(draws=0, k=[], tools=[]))
    assert (metrics["accuracy"], metrics["format_rate"], metrics["n"]) == (0.75, 0.75, 4)
    assert metrics["ci95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)
    assert metrics["families"] == {"a": {"accuracy": 0.5, "n": 2}, "b": {"accuracy": 1.0, "n": 2}}
    assert "sampled" not in metrics


def test_pass_at_k_and_majority_over_draws_by_hand() -> None:
    """Item 1: 2 of 4 right, so pass@1 = 0.5 and pass@2 = 1 - C(2,2)/C(4,2) = 5/6. Item 2: none right, all 0.

    maj@4: item 1 is a tie of two votes each, item 2's majority is wrong; a tie is shared, so (0.5 + 0) / 2.
    """
    rows = [row("a", 1, 1, [RIGHT, WRONG, RIGHT, WRONG]), row("a", 0, 0, [WRONG] * 4)]
    measures = sampled_metrics(rows, SimpleNamespace(draws=4, k=[2, 4], temperature=0.8, top_p=0.9))
    assert measures["pass@1"] == pytest.approx(0.25)
    assert measures["pass@2"] == pytest.approx(5 / 12)
    assert measures["pass@4"] == pytest.approx(0.5)
    assert measures["maj@4"] == pytest.approx(0.25)
    assert (measures["temperature"], measures["top_p"], measures["draws"]) == (0.8, 0.9, 4)


def test_judge_is_lenient_for_answers_and_strict_for_format() -> None:
    items = [{"answer": "72", "prompt": "19 + 53 =", "family": "chain_sum"}] * 3
    texts = ["19 + 53 = 72", "19 + 53 = 72\n<answer>72</answer>", "<answer>71</answer> or 72"]
    assert judge("answer", texts, items) == [1, 1, 0]
    assert judge("format", texts, items) == [0, 1, 0]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_items_shared_among_ranks_come_back_in_order(size: int) -> None:
    items = list(range(7))
    assert interleave([mine(items, rank, size) for rank in range(size)]) == items


def test_interrupted_evaluation_goes_on_behind_its_finished_answers_to_the_same_items(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """12 items in batches of four: three greedy ones and, with two draws each, six more; dies in the fifth."""
    (tmp_path / "items.jsonl").write_text("".join(f'{{"prompt": "Say {n}", "answer": "{n}"}}\n' for n in range(12)))
    suites = {"easy": {"data": {"path": str(tmp_path / "items.jsonl")}, "items": 12, "exclude_training_prompts": False}}
    measure = {"name": "measure", "kind": "evaluate", "from": "base", "suites": ["easy"], "max_completion_length": 8}
    config = write_pipeline(tmp_path, measure | {"draws": 2, "k": [2], "batch_size": 4}, suites=suites)
    assert run_stage(config, "measure", "--run-dir", str(tmp_path / "whole")) == 0
    expected = next((tmp_path / "whole").glob("*-measure-*"))
    decode, calls = training.rollout._decode, []

    def counted(*arguments: Any) -> Any:
        calls.append(len(arguments[1]))
        if len(calls) == 5:
            raise RuntimeError("the power went out")
        return decode(*arguments)

    monkeypatch.setattr(training.rollout, "_decode", counted)
    assert run_stage(config, "measure", "--run-dir", str(tmp_path)) == 1
    assert run_stage(config, "measure", "--run-dir", str(tmp_path)) == 0
    assert calls == [4, 4, 4, 2, 2, 2, 2, 2, 2, 2]
    folder = next(tmp_path.glob("*-measure-*"))
    assert (folder / "items.jsonl").read_text() == (expected / "items.jsonl").read_text()
    assert not (folder / "finished_answers").exists()


def test_families_that_alternate_are_spread_over_the_ranks() -> None:
    """Two families in turn on two ranks: without a shuffle each rank would get one family, and wait for the slower."""
    first = mine([place % 2 for place in range(100)], 0, 2)
    assert 35 <= 2 * sum(first) <= 65
