"""`posttrain rewards`: the list, and the trial of a pipeline's rewards on completions made from its first rows."""

from pathlib import Path
from typing import Any

import pytest

from launch.cli import main
from launch.rewards_command import histogram
from tests.own_rewards import own
from tests.stage_runs import LENGTH, stage, write_pipeline
from training.rewards import REWARDS


def trial(folder: Path, rewards: list[Any], *arguments: str, **fields: Any) -> int:
    """Run `posttrain rewards test` on a pipeline of one grpo stage with these rewards."""
    config = write_pipeline(folder, stage("grpo", folder=folder, rewards=rewards, **fields))
    return main(["rewards", "test", str(config), *arguments])


def test_list_shows_every_shipped_reward(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rewards", "list"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in shown[2:]] == list(REWARDS)


def test_trial_shows_golden_cases_and_what_each_kind_of_completion_earns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trial(tmp_path, ["exact", own("words"), {**LENGTH, "max_length": 8, "buffer": 4}], "--rows", "2") == 0
    shown = capsys.readouterr().out
    assert "exact: 25 of 25 golden cases met" in shown
    assert "grpo: 14 completions made from 2 rows" in shown
    rows = {line.split("  ")[0]: line.split() for line in shown.splitlines() if "  " in line}
    assert rows["answer tagged"][2:4] == ["1", "1"]  # the right answer, one word
    assert rows["another answer"][2:4] == ["0", "1"]
    assert rows["longest"][1:3] == ["0", "8"]  # as many words as the stage allows tokens
    assert rows["exact"][1:7] == ["14", "0", "0", "0", "0.286", "1"]  # 2 of 7 kinds are right


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("constant", "constant: it gives 0.5 to every completion it scores"),
        ("nothing", "nothing: it applies to none of 6 completions"),
        ("broken", "broken: it fails on all of 6 completions; most often: broken: ZeroDivisionError: a bug"),
    ],
)
def test_reward_that_cannot_teach_anything_is_refused(
    name: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert trial(tmp_path, [own("words"), own(name)], "--rows", "1", rows=1) == 2
    error = capsys.readouterr().err
    assert f"stages.grpo.rewards: {reason}" in error
    assert "words" not in error
    assert "Traceback" not in error


def test_rows_without_the_column_a_reward_needs_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trial(tmp_path, [own("longer_than")]) == 2
    assert "reward longer_than needs the column 'label'; the data has answer" in capsys.readouterr().err


def test_pipeline_without_rewards_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert main(["rewards", "test", str(config)]) == 2
    assert "the stages with rewards are none" in capsys.readouterr().err


def test_histogram_has_a_bar_for_each_tenth() -> None:
    assert histogram([]) == "-"
    assert histogram([1.0, 1.0]) == "█"
    assert histogram([0.0] * 8 + [1.0]) == "█        ▁"
