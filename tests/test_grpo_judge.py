"""A judge in GRPO beside rewards by rule: what it is given, what the stage records, its errors, a resume."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stage_runs import planned, run_stage, stage, write_pipeline
from tests.test_resume import CHECKPOINTS, ROUND_OF_TWO_STEPS, assert_same, dies_at_step
from training.config import ConfigError, load_pipeline
from training.config.scorers import Judge
from training.config.stage_parts import RewardSpec
from training.judge import JudgeCalls
from training.reward_functions import RewardAdapter
from training.rewards.scoring import Scorer

JUDGES = """
def longest(completions, prompts, conversation, **columns):
    assert len({str(each) for each in conversation}) == 1
    return [float(len(text) == max(map(len, completions))) for text in completions]


def moody(completions, prompts, answer, **columns):
    if answer[0] == "1":
        raise TimeoutError("no answer")
    return [0.5 for _ in completions]
"""


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The config of a finished stage whose judge finds the longest completion of a prompt."""
    folder = tmp_path_factory.mktemp("judge")
    (folder / "group_judges.py").write_text(JUDGES)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(folder))
        config = write_pipeline(folder, judged_stage(folder))
        assert [run_stage(config, name) for name in ("base", "grpo")] == [0, 0]
        yield config


def judged_stage(folder: Path, **fields: Any) -> dict[str, Any]:
    block = {"callable": "group_judges:longest", "version": 1, "weight": 0.5}
    trainer = ROUND_OF_TWO_STEPS | {"max_steps": 7}
    return stage("grpo", folder=folder, rows=6, **({"judge": block, "trainer": trainer, "signal": ["judge"]} | fields))


def test_a_judge_compares_the_completions_of_a_prompt_and_is_paid_by_its_weight(judged: Path) -> None:
    """The advantage is the total's distance from the group's mean over its deviation (arXiv 2402.03300)."""
    folder = planned(judged, "grpo").folder
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert rows
    for start in range(0, len(rows), 4):
        group = rows[start : start + 4]
        most = max(len(row["completion"]) for row in group)
        assert [row["rewards"]["judge"] for row in group] == [float(len(row["completion"]) == most) for row in group]
        totals = [row["rewards"]["length"] + 0.5 * row["rewards"]["judge"] for row in group]
        mean = sum(totals) / 4
        deviation = (sum((total - mean) ** 2 for total in totals) / 3) ** 0.5
        expected = [(total - mean) / (deviation + 1e-4) for total in totals]
        assert [row["advantage"] for row in group] == pytest.approx(expected, abs=1e-3)


def test_a_judge_is_part_of_the_stage_and_its_absence_changes_nothing(judged: Path, tmp_path: Path) -> None:
    identity = planned(judged, "grpo").identity
    assert identity["experiment"]["judge"] == {"version": 1, "arguments": {}, "weight": 0.5}
    assert len(identity["drawing"]["judge"]["callable_sha256"]) == 64
    without = planned(write_pipeline(tmp_path, judged_stage(tmp_path, judge=None, signal=[])), "grpo").identity
    assert "judge" not in without["experiment"]
    assert "drawing" not in without


def test_a_stage_with_a_judge_resumes_bit_identically(judged: Path, tmp_path: Path) -> None:
    runs = ("--run-dir", str(tmp_path))
    assert run_stage(judged, "base", *runs) == 0
    dies_at_step(5, judged, "grpo", *runs, *CHECKPOINTS)
    assert run_stage(judged, "grpo", *runs, *CHECKPOINTS) == 0
    assert_same(next(tmp_path.glob("*grpo*")), planned(judged, "grpo").folder)


def test_what_a_judge_raises_costs_the_completions_of_that_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "moody_judges.py").write_text(JUDGES)
    monkeypatch.syspath_prepend(str(tmp_path))
    judge = JudgeCalls(Judge(callable="moody_judges:moody", version=1), 1.0)
    scorer = Scorer([RewardSpec(name="answer")], 1.0)
    try:
        prompts = [[{"role": "user", "content": f"Count {n}"}] for n in (1, 1, 2)]
        columns = {"answer": ["1", "1", "2"]}
        scores = RewardAdapter(scorer, None, judge).score(prompts, ["1", "2", "2"], [[1]] * 3, columns)
    finally:
        scorer.close()
    assert scores.per_reward == {"answer": [None, None, 1.0], "judge": [None, None, 0.5]}
    assert scores.total == [None, None, 1.5]
    assert scores.errors == ["judge: TimeoutError: no answer"] * 2 + [None]
    assert scorer.num_errors == 2


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"judge": {"callable": "nowhere:judge", "version": 1}}, "there is no module nowhere"),
        ({"rewards": [{"name": "judge", "callable": "nowhere:judge", "version": 1}]}, "the name judge is the judge's"),
        ({"judge": None}, "signal.*is not among the rewards length"),
    ],
)
def test_judges_that_cannot_score_are_refused(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_pipeline(write_pipeline(tmp_path, judged_stage(tmp_path, **fields)))
