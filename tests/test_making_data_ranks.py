"""Making data on two real ranks: the draws of one rank, also after a kill; a reward model as one rank trains it."""

import json
from pathlib import Path

import pytest

from tests.stage_runs import learned, run_stage, stage, weights, write_pipeline
from tests.test_ranks_real import assert_two_ranks_did_it, folder_of, start_ourselves, two_ranks
from tests.test_reward_model import reward_stage
from training.finished_prompts import FINISHED_PROMPTS, prompt_keys


@pytest.mark.slow
def test_sample_on_two_ranks_has_the_draws_of_one_and_goes_on_behind_those_of_any_rank(tmp_path: Path) -> None:
    """Three prompts were finished by a rank that is not there now: they stay as they are, the others are as one rank
    draws them.
    """
    config = write_pipeline(tmp_path, stage("sample", folder=tmp_path, batch_size=8))
    assert run_stage(config, "sample", "--run-dir", str(tmp_path / "one")) == 0
    expected = (folder_of(config, tmp_path / "one", "sample") / "draws.jsonl").read_text()
    marked = [json.loads(line) for line in expected.splitlines()][:3]
    keys = prompt_keys([{name: value for name, value in row.items() if name != "draws"} for row in marked])
    for row in marked:
        row["draws"][0]["completion"] = "drawn by an earlier attempt"
    again = folder_of(config, tmp_path / "again", "sample")
    (again / FINISHED_PROMPTS).mkdir(parents=True)
    (again / FINISHED_PROMPTS / "7.jsonl").write_text(json.dumps(dict(zip(keys, marked, strict=True))) + "\n")
    assert start_ourselves(config, "sample", tmp_path / "again", two_ranks()) == 0
    assert_two_ranks_did_it(again, 0)
    rows = [json.loads(line) for line in (again / "draws.jsonl").read_text().splitlines()]
    assert rows[:3] == marked
    assert rows[3:] == [json.loads(line) for line in expected.splitlines()][3:]


@pytest.mark.slow
def test_reward_model_on_two_ranks_learns_what_one_rank_learns(tmp_path: Path) -> None:
    config = write_pipeline(tmp_path, reward_stage(tmp_path))
    assert run_stage(config, "rm", "--run-dir", str(tmp_path / "one")) == 0
    assert start_ourselves(config, "rm", tmp_path / "two", two_ranks()) == 0
    one, two = (folder_of(config, tmp_path / name, "rm") for name in ("one", "two"))
    assert_two_ranks_did_it(two, 0)
    for mine, theirs in zip(learned(two), learned(one), strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
    for name, tensor in weights(one).items():
        assert (weights(two)[name] - tensor).abs().max() < 1e-4, name
