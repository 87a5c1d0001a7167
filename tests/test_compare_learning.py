"""What differences did: paired answers, seconds by phase, curves over one another."""

from pathlib import Path

import pytest

from tests.changed_run import Row, change_rows
from tests.fake_run import write_fake_run, write_lines
from training.compare.comparison import compare_runs
from training.compare.learning import HEADLINES, overlays
from training.compare.page import comparison_page
from training.compare.step_seconds import PhaseChange, Spread
from training.config import TRAINING_KINDS
from training.report.collect import read_lines, read_run
from training.report.curves import CHARTS


def test_accuracy_is_paired_on_the_same_questions_alone(before: Path, after: Path) -> None:
    """By hand: 128 items, all right after and the first 64 right before; item 0 is another question, item 1 is gone.
    126 pairs: items 2 to 63 right twice, 64 to 127 gained, so the gain is 64/126."""

    def number(row: Row) -> int:
        return int(row["item"].rpartition("-")[2])

    change_rows(before, "evaluate-sft", "items.jsonl", lambda row: row | {"correct": int(number(row) < 64)})
    change_rows(
        after,
        "evaluate-sft",
        "items.jsonl",
        lambda row: row | {"correct": 1} | ({"prompt": "another"} if number(row) == 0 else {}),
    )
    folder = read_run(after).stage("evaluate-sft").folder
    write_lines(folder / "items.jsonl", [row for row in read_lines(folder / "items.jsonl") if number(row) != 1])
    (pair,) = [
        one
        for one in compare_runs([before, after]).accuracy
        if (one.model, one.other, one.suite) == ("sft", "sft", "in_domain")
    ]
    assert (pair.gained, pair.lost, pair.alone) == (64, 0, 2)
    assert pair.paired is not None
    assert pair.paired.gain == pytest.approx(64 / 126)
    assert (pair.paired.n, pair.paired.verdict) == (126, "better")


def test_runs_without_a_question_in_common_are_not_paired(before: Path, after: Path) -> None:
    for model in ("base", "sft", "dpo", "grpo"):
        change_rows(after, f"evaluate-{model}", "items.jsonl", lambda row: row | {"prompt": f"new {row['prompt']}"})
    compared = compare_runs([before, after])
    assert [one.paired for one in compared.accuracy] == [None] * 8
    assert "no question is the same" in comparison_page(compared)


def test_last_models_are_compared_where_their_names_differ(before: Path, tmp_path: Path) -> None:
    shorter = write_fake_run(tmp_path / "shorter", finished="evaluate-dpo")
    pairs = {(one.model, one.other) for one in compare_runs([before, shorter]).accuracy}
    assert pairs == {("base", "base"), ("sft", "sft"), ("dpo", "dpo"), ("dpo", "grpo")}


def test_the_phase_that_got_slower_is_named_with_its_seconds(before: Path, after: Path) -> None:
    """A second more of generating in every step: the step is a second slower, and so is that phase alone."""

    def slower(row: Row) -> Row:
        return row | {name: row[name] + 1.0 for name in ("timing_s/generate", "timing_s/step")}

    change_rows(after, "grpo", "metrics.jsonl", slower)
    found = {one.stage: one for one in compare_runs([before, after]).seconds}
    grpo = found["grpo"]
    assert grpo.step.seconds == pytest.approx(1.0)
    assert grpo.step.verdict == "slower"
    assert (grpo.phases[0].phase, grpo.phases[0].seconds) == ("generate", pytest.approx(1.0))
    assert {one.verdict for one in grpo.phases[1:]} == {"no measurable change"}
    assert "mostly generate (+1.00 s)" in grpo.words
    assert found["sft"].step.verdict == "no measurable change"


def test_the_first_step_warms_up_and_is_left_out(before: Path, after: Path) -> None:
    change_rows(after, "sft", "metrics.jsonl", lambda row: row | {"timing_s/step": 99.0} if row["step"] == 1 else row)
    (sft,) = [one for one in compare_runs([before, after]).seconds if one.stage == "sft"]
    assert (sft.step.seconds, sft.step.after.n) == (pytest.approx(0.0), 39)


def test_a_longer_step_with_more_tokens_says_so(before: Path, after: Path) -> None:
    """Twice the seconds at the same tokens/s: twice the tokens."""
    change_rows(after, "sft", "metrics.jsonl", lambda row: row | {"timing_s/step": 2 * row["timing_s/step"]})
    (sft,) = [one for one in compare_runs([before, after]).seconds if one.stage == "sft"]
    assert "a step has 100 % more tokens" in sft.words


def test_an_interval_around_zero_is_no_change() -> None:
    same = Spread(1.0, 0.1, 10)
    assert PhaseChange("data", same, same, -0.1, 0.1).verdict == "no measurable change"
    assert PhaseChange("data", same, Spread(1.5, 0.1, 10), 0.4, 0.6).verdict == "slower"
    assert PhaseChange("data", same, Spread(0.5, 0.1, 10), -0.6, -0.4).verdict == "faster"
    assert PhaseChange("data", Spread(0.0, 0.0, 10), same, 0.9, 1.1).share is None


def test_curves_of_one_metric_lie_over_one_another(before: Path, after: Path) -> None:
    found = {(one.stage, one.metric): one for one in overlays(compare_runs([before, after]).runs)}
    loss = found["sft", "loss"]
    assert [one.label for one in loss.series] == ["before", "after"]
    assert [len(one.points) for one in loss.series] == [40, 40]
    assert loss.series[0].colour != loss.series[1].colour
    assert ("grpo", "reward/answer") in found


def test_every_kind_that_trains_has_headlines_and_charts() -> None:
    assert HEADLINES.keys() == CHARTS.keys() == set(TRAINING_KINDS)
