"""The runner's loop, with stages that end as told: what runs, what follows, and the exit code of the whole."""

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from launch.ranks_end import Failure, RanksEnd
from launch.run import run_stages
from tests.fake_artifacts import finish, finish_all
from tests.test_plan import EVERYTHING, PIPELINE, plan
from training.plan import PlannedStage, RunPlan

GATED = PIPELINE.replace("    kind: sft\n", "    kind: sft\n    gate: {suite: in_domain, over: base}\n")


def ended(code: int) -> RanksEnd:
    """The end of a single rank with this code; 130 is what Ctrl-C gives."""
    if code == 130:
        return RanksEnd({0: 75}, None, [signal.SIGINT])
    return RanksEnd({0: code}, Failure(0, code, Path("rank0.log")) if code else None)


def ending(run_plan: RunPlan, started: list[str], **codes: int) -> Callable[[PlannedStage], RanksEnd]:
    """A starter that finishes every stage, but for those that `codes` gives another end (`_` for `-`)."""

    def start(stage: PlannedStage) -> RanksEnd:
        started.append(stage.name)
        code = codes.get(stage.name.replace("-", "_"), 0)
        if code == 0:
            finish(run_plan, stage)
        return ended(code)

    return start


def items(run_plan: RunPlan, **right: int) -> None:
    """Give the evaluations of models 64 items each, of which so many are right."""
    for model, count in right.items():
        rows = [
            {"suite": "in_domain", "item": str(number), "correct": int(number < count), "format": 1}
            for number in range(64)
        ]
        path = run_plan[f"evaluate-{model}"].folder / "items.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_run_stages_new_run_runs_all_in_order(tmp_path: Path) -> None:
    run_plan, started = plan(tmp_path), []
    assert run_stages(run_plan, ending(run_plan, started), past_gates=False) == 0
    assert started == EVERYTHING


def test_run_stages_finished_are_skipped_with_their_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish_all(plan(tmp_path))
    run_plan, started = plan(tmp_path, "stages.dpo.trainer.learning_rate=1e-5"), []
    assert run_stages(run_plan, ending(run_plan, started), past_gates=False) == 0
    assert started == ["dpo", "evaluate-dpo", "grpo", "evaluate-grpo"]
    shown = capsys.readouterr().out
    assert f"[3/9] sft  done: record {run_plan['sft'].fingerprint[:8]}" in shown
    assert f"learning_rate 5e-06 -> 1e-05  (fingerprint {run_plan['dpo'].fingerprint[:8]})" in shown
    assert "[6/9] dpo  done in" in shown


@pytest.mark.parametrize("code", [1, 2, 4, 75, 130])
def test_run_stages_stop_at_the_first_that_does_not_end_well(tmp_path: Path, code: int) -> None:
    run_plan, started = plan(tmp_path), []
    assert run_stages(run_plan, ending(run_plan, started, pairs=code), past_gates=False) == code
    assert started[-1] == "pairs"


def test_run_stages_end_without_a_record_is_a_failure(tmp_path: Path) -> None:
    run_plan = plan(tmp_path)
    assert run_stages(run_plan, lambda stage: ended(0), past_gates=False) == 1


def test_run_stages_lost_file_of_a_parent_is_refused_before_the_child_starts(tmp_path: Path) -> None:
    first = plan(tmp_path)
    finish_all(first)
    (first["sft"].folder / "model" / "weights.txt").unlink()
    run_plan, started = plan(tmp_path, "stages.pairs.draws=2"), []
    with pytest.raises(UserError, match="redo the stage"):
        run_stages(run_plan, ending(run_plan, started), past_gates=False)
    assert started == []


@pytest.mark.parametrize(("right", "code"), [(60, 0), (2, 3)])
def test_run_stages_gate_decides_what_follows(tmp_path: Path, right: int, code: int) -> None:
    """Base 30 of 64 right: 60 is a clear gain, 2 a clear loss. Also on the second run, when all of it is done."""
    run_plan = plan(tmp_path, text=GATED)
    for name in ("base", "evaluate-base", "sft", "evaluate-sft"):
        finish(run_plan, run_plan[name])
    items(run_plan, base=30, sft=right)
    again, started = plan(tmp_path, text=GATED), []
    assert run_stages(again, ending(again, started), past_gates=False) == code
    assert ("pairs" in started) == (code == 0)


def test_run_stages_past_gates_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_plan = plan(tmp_path, text=GATED)
    for name in ("base", "evaluate-base", "sft", "evaluate-sft"):
        finish(run_plan, run_plan[name])
    items(run_plan, base=30, sft=2)
    again, started = plan(tmp_path, text=GATED), []
    assert run_stages(again, ending(again, started), past_gates=True) == 0
    assert started[0] == "pairs"
    assert "gate of sft: NOT met" in capsys.readouterr().out


def test_run_stages_failed_rank_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "rank1.log"
    log.write_text("the last words\n")
    end = RanksEnd({0: -signal.SIGTERM, 1: -signal.SIGKILL}, Failure(1, -signal.SIGKILL, log))
    assert run_stages(plan(tmp_path), lambda stage: end, past_gates=False) == 1
    shown = capsys.readouterr().out
    assert "rank 1 was killed by SIGKILL" in shown
    assert "the last words" in shown
