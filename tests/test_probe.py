"""Probes during training: what is logged, what is kept, when training ends, which questions are asked, resume."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import training.probe
from tests.stage_runs import learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.test_resume import dies_at_step
from training.best_model import UNFINISHED, best_folder, drop_surpassed, keep_best, kept_steps, restore_best
from training.checkpoint import MANIFEST
from training.config import load_pipeline
from training.context import StageContext
from training.estimates import wilson_interval
from training.evaluate import suites_items
from training.plan import plan_run
from training.questions import chosen_by, probe_questions
from training.record import read_record, verify_record
from training.world import World


def pipeline(folder: Path, kind: str, steps: int, *later: dict[str, Any], **probe: Any) -> Path:
    """A stage probed on 6 questions behind the 4 of the suite's evaluation; the stage trains on two of the rows."""
    questions = [{"prompt": f"Count {number}", "answer": str(number)} for number in (0, 1, *range(100, 114))]
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in questions))
    block = stage(kind, folder=folder, trainer={"max_steps": steps}, rows=32)
    block["probe"] = {"suites": ["easy"], "every": 2, "items": 6, "max_completion_length": 4, **probe}
    suites = {"easy": {"items": 4, "data": {"path": str(path)}}}
    return write_pipeline(folder, block, *later, suites=suites, evaluate={"suites": ["easy"]})


@pytest.fixture
def right_answers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many of the six answers of each probe to come are judged right; the questions are checked on the way."""
    counts: list[int] = []

    def judge(reward: str, completions: list[str], items: list[dict[str, Any]]) -> list[int]:
        assert len(completions) == 6
        assert sorted(item["answer"] for item in items) == ["104", "105", "106", "107", "108", "109"]
        right = counts.pop(0)
        return [1] * right + [0] * (6 - right)

    monkeypatch.setattr(training.probe, "judge", judge)
    return counts


@pytest.mark.parametrize("kind", ["sft", pytest.param("dpo", marks=pytest.mark.slow), "grpo"])
def test_probe_logs_accuracy_and_interval_of_questions_no_evaluation_asks(
    kind: str, tmp_path: Path, right_answers: list[int]
) -> None:
    """Questions 0 and 1 are trained on, 100 to 103 are the evaluation's: 104 to 109 are asked, at steps 2 and 3."""
    right_answers += [3, 6]
    config = pipeline(tmp_path, kind, steps=3)
    assert run_stage(config, kind) == 0
    rows = metrics(planned(config, kind).folder)
    assert [row.get("probe/easy/accuracy") for row in rows] == [None, 0.5, 1.0]
    low, high = wilson_interval(3, 6)
    assert (rows[1]["probe/easy/ci95_low"], rows[1]["probe/easy/ci95_high"]) == (low, high)
    assert read_record(planned(config, kind).folder)["kept_probe"] is None


def test_probe_keeps_the_best_and_ends_early_also_after_a_crash(tmp_path: Path, right_answers: list[int]) -> None:
    """Probes at 2, 4, 6, 8 of 12 steps: the second is the best, the fourth the second without a better one."""
    config = pipeline(tmp_path, "sft", steps=12, keep_best="easy", patience=2)
    right_answers += [1, 3, 2, 3]
    assert run_stage(config, "sft", "--run-dir", str(tmp_path / "whole")) == 0
    whole = next((tmp_path / "whole").glob("*-sft-*"))
    assert [row["step"] for row in metrics(whole)] == list(range(1, 9))
    assert verify_record(whole) == []
    assert list(whole.glob("best*")) == []

    options = ("--run-dir", str(tmp_path / "crashed"), "--set", "runtime.checkpoint_every=4")
    right_answers += [1, 3, 2]
    dies_at_step(6, config, "sft", *options)
    crashed = next((tmp_path / "crashed").glob("*-sft-*"))
    at_step_4 = load_file(crashed / "checkpoints" / "checkpoint-4" / "model.safetensors")
    right_answers += [2, 3]
    assert run_stage(config, "sft", *options) == 0
    assert learned(crashed) == learned(whole)
    for folder in (whole, crashed):
        assert read_record(folder)["kept_probe"] == {"suite": "easy", "step": 4, "accuracy": 0.5}
        assert all(torch.equal(tensor, at_step_4[name]) for name, tensor in weights(folder).items())


def test_probe_is_identity_where_it_decides_what_is_kept_and_nowhere_else(tmp_path: Path) -> None:
    config = pipeline(tmp_path, "sft", steps=2)
    watching = planned(config, "sft")
    assert "probe" not in watching.identity["experiment"]
    assert planned(config, "sft", "stages.sft.probe=null").fingerprint == watching.fingerprint
    keeping = planned(config, "sft", "stages.sft.probe.keep_best=easy")
    assert keeping.fingerprint != watching.fingerprint
    assert keeping.identity["probe_suites"]["easy"]["items"] == 4


def test_probe_that_chooses_is_not_asked_again_by_an_evaluation(tmp_path: Path) -> None:
    """A later stage trains on 100 to 103, which the evaluation would ask: it goes on behind the probe's 104 to 109."""
    later = stage("sft", "later", rows=104, folder=tmp_path)
    config = pipeline(tmp_path, "sft", 2, later)
    for override, expected in (("null", range(104, 108)), ("easy", range(110, 114))):
        loaded = load_pipeline(config, [f"stages.sft.probe.keep_best={override}"])
        plan = plan_run(loaded, tmp_path / "run")
        context = StageContext(loaded, plan, plan["evaluate-later"], tmp_path / "run", World(0, 0, 1))
        items, _ = suites_items(context)
        assert [item["answer"] for item in items] == [str(number) for number in expected]
        asked = probe_questions(context, "sft", plan["sft"].stage.probe, ["easy"])
        assert [item["answer"] for item in asked] == [str(number) for number in range(104, 110)]
        assert chosen_by(context) == (set() if override == "null" else {item["prompt"] for item in asked})


def test_probe_that_chooses_is_identity_of_what_evaluations_ask(tmp_path: Path) -> None:
    config = pipeline(tmp_path, "sft", 2)
    keep, name = "stages.sft.probe.keep_best=easy", "evaluate-base"
    watched = planned(config, name).fingerprint
    assert planned(config, name, "stages.sft.probe=null").fingerprint == watched
    chosen = planned(config, name, keep).fingerprint
    assert chosen != watched
    assert planned(config, name, keep, "stages.sft.probe.every=1").fingerprint == chosen
    assert planned(config, name, keep, "stages.sft.probe.items=5").fingerprint != chosen


@pytest.mark.parametrize(
    ("kept", "probes", "accepted"),
    [
        ([4], [(2, 0.1), (4, 0.5), (6, 0.5)], [(4, 0.5), (6, 0.5)]),
        ([4, 6], [(2, 0.1), (4, 0.5)], [(4, 0.5)]),  # died before the one before was removed; the checkpoint is of 5
        ([6], [(2, 0.1), (4, 0.5)], []),  # the checkpoint is older than the model
        ([2], [(2, 0.1), (4, 0.5)], []),
        ([4], [(2, 0.9), (4, 0.5)], [(4, 0.5)]),  # the best was lost to a rollback: the best since
        ([], [(2, 0.1)], []),
    ],
)
def test_best_model_is_taken_up_again_only_where_the_metrics_say_so(
    kept: list[int], probes: list[tuple[int, float]], accepted: list[tuple[int, float]], tmp_path: Path
) -> None:
    for folder in (tmp_path / UNFINISHED, *(best_folder(tmp_path, step) for step in kept)):
        folder.mkdir()
    assert restore_best(tmp_path, probes) == accepted
    assert [path.name for path in tmp_path.iterdir()] == [f"best-{step}" for step, _ in accepted[:1]]


def test_best_model_stands_as_long_as_a_checkpoint_from_before_the_next_one(tmp_path: Path) -> None:
    """Bests at 4, 6 and 8; a crash goes back to the checkpoint of 5 or, should that be damaged, of 3."""

    def checkpoint(step: int) -> None:
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / MANIFEST).write_text("{}")

    def best(step: int) -> list[int]:
        (tmp_path / UNFINISHED).mkdir()
        keep_best(tmp_path, step)
        return kept_steps(tmp_path)

    assert best(2) == [2]
    checkpoint(3)
    assert best(4) == [2, 4]
    checkpoint(5)
    assert best(6) == [2, 4, 6]
    assert best(8) == [2, 4, 8]
    shutil.rmtree(tmp_path / "checkpoints" / "checkpoint-3")
    checkpoint(9)
    drop_surpassed(tmp_path)
    assert kept_steps(tmp_path) == [4, 8]
    probes = [(2, 0.1), (4, 0.5)]
    assert restore_best(tmp_path, probes) == [(4, 0.5)]
    assert kept_steps(tmp_path) == [4]


def test_best_model_stands_until_the_next_one_is_whole(tmp_path: Path) -> None:
    (tmp_path / UNFINISHED).mkdir()
    keep_best(tmp_path, 9)
    (tmp_path / UNFINISHED).mkdir()
    (tmp_path / UNFINISHED / "weights").write_text("of step 10")
    assert kept_steps(tmp_path) == [9]
    keep_best(tmp_path, 10)
    assert kept_steps(tmp_path) == [10]
    assert (best_folder(tmp_path, 10) / "weights").read_text() == "of step 10"
