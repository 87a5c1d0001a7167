"""The summary: numbers from the records, comparisons paired on the same questions, and plain words for both."""

import io
import json
from pathlib import Path

import pytest

from tests.fake_run import write_fake_run, write_lines
from training.report.collect import read_lines, read_run
from training.summary import Comparison, print_table, summarise


def comparison(gain: float, low: float, high: float) -> Comparison:
    return Comparison("dpo", "sft", "in_domain", "accuracy", gain, low, high, 128)


def test_summary_has_base_and_every_model_in_pipeline_order(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    summary = summarise(run)
    assert [row.name for row in summary.rows] == ["base", "sft", "dpo", "grpo"]
    assert summary.suites == ["in_domain", "out_of_domain"]
    for row in summary.rows:
        recorded = read_run(run).stage(f"evaluate-{row.name}").record["metrics"]["in_domain"]
        score = row.scores["in_domain"]
        assert (score.accuracy, list(score.ci95), score.n) == (recorded["accuracy"], recorded["ci95"], 128)
        assert score.format_rate == recorded["format_rate"]
    assert summary.missing == []


def test_summary_compares_with_the_parent_grpo_with_sft_and_the_last_with_the_base(tmp_path: Path) -> None:
    summary = summarise(write_fake_run(tmp_path))
    pairs = [(one.model, one.other) for one in summary.comparisons if one.suite == "in_domain"]
    assert pairs == [("sft", "base"), ("dpo", "sft"), ("grpo", "dpo"), ("grpo", "sft"), ("grpo", "base")]
    assert [one.model for one in summary.over_base if one.suite == "in_domain"] == ["sft", "dpo", "grpo"]


def test_summary_of_an_unfinished_run_compares_the_last_measured_model_with_the_base(tmp_path: Path) -> None:
    summary = summarise(write_fake_run(tmp_path, finished="evaluate-dpo"))
    pairs = [(one.model, one.other) for one in summary.comparisons if one.suite == "in_domain"]
    assert pairs == [("sft", "base"), ("dpo", "sft"), ("dpo", "base")]
    assert summary.missing == ["grpo: unfinished", "evaluate-grpo: not run"]


def test_gain_is_positive_when_the_model_answers_more_questions(tmp_path: Path) -> None:
    """By hand: of 10 shared questions the base has 2 right and SFT 9, so the gain is 0.7."""
    run = write_fake_run(tmp_path)
    for model, right in (("base", 2), ("sft", 9)):
        path = read_run(run).stage(f"evaluate-{model}").folder / "items.jsonl"
        rows = [row for row in read_lines(path) if row["suite"] == "in_domain"][:10]
        write_lines(path, [row | {"correct": int(number < right)} for number, row in enumerate(rows)])
    (first, *_) = summarise(run).comparisons
    assert (first.model, first.other, first.n) == ("sft", "base", 10)
    assert first.gain == pytest.approx(0.7)
    assert first.low < 0.7 < first.high


def test_comparisons_use_only_questions_that_both_models_answered(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    path = read_run(run).stage("evaluate-sft").folder / "items.jsonl"
    rows = read_lines(path)
    changed = [row | {"item": "another-question"} if row["item"] == "in_domain-0" else row for row in rows]
    write_lines(path, list(reversed(changed)))
    counts = {(one.model, one.other): one.n for one in summarise(run).comparisons if one.suite == "in_domain"}
    assert counts[("sft", "base")] == 127
    assert counts[("grpo", "dpo")] == 128


def test_a_second_evaluation_of_a_model_does_not_replace_the_first(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    resolved = json.loads((run / "pipeline.resolved.json").read_text())
    extra = {"name": "evaluate-again", "kind": "evaluate", "parent": "sft", "suites": ["in_domain"]}
    resolved["stages"].append(extra)
    (run / "pipeline.resolved.json").write_text(json.dumps(resolved))
    source = read_run(run).stage("evaluate-sft")
    folder = run / f"10-evaluate-again-{'a' * 8}"
    folder.mkdir()
    metrics = {"in_domain": source.record["metrics"]["in_domain"] | {"accuracy": 0.01}}
    (folder / "record.json").write_text(json.dumps(source.record | {"stage": "evaluate-again", "metrics": metrics}))
    summary = summarise(run)
    (sft,) = [row for row in summary.rows if row.name == "sft"]
    assert sft.scores["in_domain"].accuracy == source.record["metrics"]["in_domain"]["accuracy"]


def test_gates_are_decided_as_the_runner_decides_them(tmp_path: Path) -> None:
    gates = {gate.model: gate for gate in summarise(write_fake_run(tmp_path)).gates}
    assert {name: gate.passed for name, gate in gates.items()} == {"dpo": False, "grpo": True}
    assert gates["dpo"].words.startswith("gate of dpo: not met; accuracy on in_domain changed by ")


def test_gate_on_different_questions_is_undecided_and_says_why(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    path = read_run(run).stage("evaluate-dpo").folder / "items.jsonl"
    write_lines(path, read_lines(path)[:5])
    (gate, _) = summarise(run).gates
    assert gate.passed is None
    assert "same ones" in gate.reason


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (comparison(0.008, -0.031, 0.047), "no measurable change"),
        (comparison(0.1, 0.02, 0.18), "better"),
        (comparison(-0.1, -0.18, -0.02), "worse"),
        (comparison(0.0, 0.0, 0.0), "no measurable change"),
        (comparison(0.05, 0.0, 0.1), "no measurable change"),
    ],
)
def test_verdict_table(one: Comparison, verdict: str) -> None:
    assert one.verdict == verdict


def test_words_of_a_change_within_the_noise() -> None:
    words = comparison(0.008, -0.031, 0.047).words
    assert words == (
        "dpo against sft: no measurable change on in_domain (+0.8 points, 95 % interval -3.1 to +4.7, n=128)"
    )


def test_printed_table_is_plain_ascii_off_a_terminal(tmp_path: Path) -> None:
    sink = io.StringIO()
    print_table(write_fake_run(tmp_path), sink)
    text = sink.getvalue()
    assert text.isascii()
    assert "\x1b" not in text
    lines = text.splitlines()
    (row,) = [line for line in lines if line.startswith("|grpo")]
    score = next(row for row in summarise(tmp_path).rows if row.name == "grpo").scores["in_domain"]
    assert f"{100 * score.accuracy:.1f} ({100 * score.ci95[0]:.1f} to {100 * score.ci95[1]:.1f})" in row
    assert max(len(line) for line in lines if line.startswith("|")) <= 80
    assert any(line.startswith("grpo against sft: ") for line in lines)
    assert any("dpo against sft: no measurable change on in_domain" in line for line in lines)


def test_printed_table_of_a_run_without_evaluations_says_what_is_missing(tmp_path: Path) -> None:
    sink = io.StringIO()
    print_table(write_fake_run(tmp_path, finished="base"), sink)
    assert sink.getvalue().splitlines()[0] == "not finished: evaluate-base: unfinished"


def test_two_runs_of_the_same_seed_summarise_alike(tmp_path: Path) -> None:
    one, two = (summarise(write_fake_run(tmp_path / name)) for name in ("a", "b"))
    assert one == two
