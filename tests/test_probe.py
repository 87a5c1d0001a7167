"""Probes during training: what is logged, what is kept, when training ends, which questions are asked, resume."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import training.probe
from tests.stage_runs import learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.test_resume import at_step_end, die
from training.estimates import wilson_interval
from training.record import verify_record


def pipeline(folder: Path, kind: str, steps: int, **probe: Any) -> Path:
    """A stage probed on 6 questions behind the 4 of the suite's evaluation; the stage trains on two of the rows."""
    questions = [{"prompt": f"Count {number}", "answer": str(number)} for number in (0, 1, *range(100, 110))]
    path = folder / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in questions))
    block = stage(kind, folder=folder, trainer={"max_steps": steps}, rows=32)
    block["probe"] = {"suites": ["easy"], "every": 2, "items": 6, "max_completion_length": 4, **probe}
    return write_pipeline(folder, block, suites={"easy": {"items": 4, "data": {"path": str(path)}}})


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


def test_probe_keeps_the_best_and_ends_early_also_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right_answers: list[int]
) -> None:
    """Probes at 2, 4, 6, 8 of 12 steps: the second is the best, the fourth the second without a better one."""
    config = pipeline(tmp_path, "sft", steps=12, keep_best="easy", patience=2)
    right_answers += [1, 3, 2, 3]
    assert run_stage(config, "sft", "--run-dir", str(tmp_path / "whole")) == 0
    whole = next((tmp_path / "whole").glob("*-sft-*"))
    assert [row["step"] for row in metrics(whole)] == list(range(1, 9))
    assert verify_record(whole) == []
    assert not (whole / "best").exists()

    options = ("--run-dir", str(tmp_path / "crashed"), "--set", "runtime.checkpoint_every=4")
    right_answers += [1, 3, 2]
    with monkeypatch.context() as patched:
        at_step_end(patched, 6, die)
        assert run_stage(config, "sft", *options) == 1
    crashed = next((tmp_path / "crashed").glob("*-sft-*"))
    at_step_4 = load_file(crashed / "checkpoints" / "checkpoint-4" / "model.safetensors")
    right_answers += [2, 3]
    assert run_stage(config, "sft", *options) == 0
    assert learned(crashed) == learned(whole)
    for folder in (whole, crashed):
        assert all(torch.equal(tensor, at_step_4[name]) for name, tensor in weights(folder).items())


def test_probe_is_identity_where_it_decides_what_is_kept_and_nowhere_else(tmp_path: Path) -> None:
    config = pipeline(tmp_path, "sft", steps=2)
    watching = planned(config, "sft")
    assert "probe" not in watching.identity["experiment"]
    assert planned(config, "sft", "stages.sft.probe=null").fingerprint == watching.fingerprint
    keeping = planned(config, "sft", "stages.sft.probe.keep_best=easy")
    assert keeping.fingerprint != watching.fingerprint
    assert keeping.identity["probe_suites"]["easy"]["items"] == 4
