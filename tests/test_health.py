"""Alarms in real tiny runs: what is said, what ends, which lines are named, and how a stage goes back and on.

The random model never ends a completion of 8 tokens, so `truncation` is in alarm from its first full window on.
"""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launch.ranks_end import Failure, RanksEnd
from launch.run import run_stages
from tests.stage_runs import learned, metrics, planned, run_stage, stage, write_pipeline
from tests.test_resume import dies_at_step
from training.alarms import ALARMS
from training.checkpoint import MANIFEST, committed
from training.config import load_pipeline
from training.config.health import HEALTH_BLOCKS, Truncation
from training.detectors import DETECTORS, Detector, Finding
from training.health import judged
from training.interventions import interventions
from training.plan import RunPlan, plan_run
from training.record import read_record, verify_record
from training.resumable import EpochSampler
from training.rollback import roll_back

CHECKPOINTS = ("--set", "runtime.checkpoint_every=1")


def pipeline(folder: Path, steps: int = 3, **health: Any) -> Path:
    """One GRPO stage that watches nothing but what `health` says."""
    trainer = {"max_steps": steps, "lr_scheduler_type": "constant"}
    return write_pipeline(folder, stage("grpo", folder=folder, trainer=trainer, health=health))


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_health_stop_ends_with_4_and_names_the_lines_that_show_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = pipeline(tmp_path, truncation={"policy": "stop", "window": 2})
    assert run_stage(config, "grpo") == 4
    folder = planned(config, "grpo").folder
    (alarm,) = lines(folder / ALARMS)
    samples = lines(folder / "samples.jsonl")
    assert (alarm["step"], alarm["detector"], alarm["policy"]) == (2, "truncation", "stop")
    assert len(alarm["samples"]) == len(set(alarm["samples"])) > 0
    assert all(samples[line - 1]["truncated"] and samples[line - 1]["step"] == 2 for line in alarm["samples"])
    assert [row["health/alarms"] for row in metrics(folder)] == [0, 1]
    told = capsys.readouterr().err
    assert "truncation at step 2: 100% of the completions of 2 rounds are cut off; see samples.jsonl, line 9" in told
    assert read_record(folder) is None
    assert run_stage(config, "grpo") == 4  # repeating the command does not walk past it
    assert "truncation at step 2: 100%" in capsys.readouterr().err
    assert [row["step"] for row in metrics(folder)] == [1, 2]
    assert lines(folder / ALARMS) == [alarm]


def test_health_stop_saves_a_checkpoint_from_which_another_policy_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = pipeline(tmp_path, steps=4, truncation={"policy": "stop", "window": 2})
    assert run_stage(config, "grpo") == 4
    folder = planned(config, "grpo").folder
    assert committed(folder / "checkpoints") == [folder / "checkpoints" / "checkpoint-2"]
    stopped = metrics(folder)
    assert run_stage(config, "grpo", "--set", "stages.grpo.health.truncation=warn") == 0
    assert "resumed at step 2 of 4" in capsys.readouterr().out
    assert metrics(folder)[:2] == stopped
    assert [row["step"] for row in metrics(folder)] == [1, 2, 3, 4]
    assert verify_record(folder) == []


def test_health_no_default_but_not_finite_ends_a_run() -> None:
    detectors = [pair for block in HEALTH_BLOCKS.values() for pair in block().detectors.items()]
    assert {name for name, block in detectors if block.policy != "warn"} == {"not_finite"}


def test_health_warning_is_told_once_and_the_run_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = pipeline(tmp_path, truncation={"window": 1})
    assert run_stage(config, "grpo") == 0
    folder = planned(config, "grpo").folder
    assert [(alarm["step"], alarm["policy"]) for alarm in lines(folder / ALARMS)] == [(1, "warn")]
    assert [row["health/alarms"] for row in metrics(folder)] == [1, 1, 1]
    assert capsys.readouterr().out.count("warning: truncation") == 1
    assert ALARMS in read_record(folder)["files"]
    assert verify_record(folder) == []


def test_health_of_a_healthy_run_says_nothing_and_changes_nothing(tmp_path: Path) -> None:
    config = pipeline(tmp_path, truncation={"policy": "stop", "window": 1, "above": 1.0})
    assert run_stage(config, "grpo") == 0
    folder = planned(config, "grpo").folder
    assert not (folder / ALARMS).exists()
    assert {row["health/alarms"] for row in metrics(folder)} == {0}
    watched_otherwise = planned(config, "grpo", "stages.grpo.health.truncation=off")
    assert watched_otherwise.state == "done"  # no limit is part of the experiment


def assert_rows_of_step(found: list[dict[str, Any]], step: int, source: Path) -> None:
    """The rows that the sampler gives the step, of sixteen in batches of eight, with their lines in the source."""
    written = lines(source)
    assert {row["step"] for row in found} == {step}
    assert [row["row"] for row in found] == EpochSampler(16, 8, seed=17).step_rows(step)
    for row in found:
        assert row["where"] == f"{source}:{row['row'] + 1}"
        assert row["prompt"][-1]["content"] == written[row["row"]]["prompt"]


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_health_nan_stops_sft_and_dpo(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate that overflows the weights in the first step: the second step's loss is NaN."""
    trainer = {"max_steps": 4, "learning_rate": 1e38, "max_grad_norm": 0, "optim": "sgd"}
    config = write_pipeline(tmp_path, stage(kind, folder=tmp_path, trainer=trainer))
    assert run_stage(config, kind) == 4
    told = capsys.readouterr().err
    assert "not_finite at step" in told
    folder = planned(config, kind).folder
    assert committed(folder / "checkpoints") == []  # nothing to go on from
    (alarm,) = lines(folder / ALARMS)
    assert alarm["samples"] == list(range(1, 9))
    assert "see samples.jsonl, line 1, 2, 3, 4, 5, 6, 7, 8" in told
    assert_rows_of_step(lines(folder / "samples.jsonl"), alarm["step"], tmp_path / f"{kind}.jsonl")


def test_health_held_out_loss_that_rises_stops_sft(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A learning rate of 1: what the first step leaves is worse on held-out rows, and so is the second's."""
    health = {"held_out_loss": {"policy": "stop", "times": 1}}
    block = stage("sft", folder=tmp_path, rows=40, trainer={"max_steps": 5, "learning_rate": 1.0}, health=health)
    block["data"]["validation"] = {"share": 0.3, "every": 1}
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, "sft") == 4
    losses = [row["eval_loss"] for row in metrics(planned(config, "sft").folder)]
    assert losses[-1] > 1.05 * min(losses[:-1])
    assert "held_out_loss at step" in capsys.readouterr().err


SICK_FROM = 3


@pytest.fixture
def sick_at_full_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finding that a lower learning rate cures: at step 3, while the learning rate is 1e-3."""

    def find(history: Any, limits: Truncation) -> Finding | None:
        now = history[-1]
        if now["step"] < SICK_FROM or now["learning_rate"] < 1e-3:
            return None
        return Finding("the learning rate is too high", SICK_FROM)

    monkeypatch.setitem(DETECTORS, "truncation", Detector(find, DETECTORS["truncation"].rows))


@pytest.mark.usefixtures("sick_at_full_rate")
def test_health_rollback_goes_on_from_the_last_good_checkpoint_with_half_the_rate(tmp_path: Path) -> None:
    """Step 3 is sick: back to step 2. The second attempt dies at step 4 and is resumed: the rate stays at a half."""
    config = pipeline(tmp_path, steps=5, truncation="rollback")
    assert run_stage(config, "grpo", *CHECKPOINTS) == 76
    folder = planned(config, "grpo").folder
    first = learned(folder)
    (made,) = interventions(folder)
    assert (made["step"], made["to_step"], made["learning_rate"]) == (3, 2, 5e-4)
    evidence = lines(folder / made["samples"])
    assert evidence
    assert {row["step"] for row in evidence} == {3}
    dies_at_step(4, config, "grpo", *CHECKPOINTS)
    assert run_stage(config, "grpo", *CHECKPOINTS) == 0
    rows = learned(folder)
    assert [row["learning_rate"] for row in rows] == [1e-3, 1e-3, 5e-4, 5e-4, 5e-4]
    assert rows[:2] == first[:2]
    record = read_record(folder)
    assert record["interventions"] == [made]
    assert made["samples"] in record["files"]
    assert verify_record(folder) == []


@pytest.mark.usefixtures("sick_at_full_rate")
def test_health_rollbacks_that_do_not_help_end_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    health = {"truncation": "rollback", "max_rollbacks": 1, "learning_rate_factor": 0.5}
    config = pipeline(tmp_path, **health)
    assert run_stage(config, "grpo") == 76
    assert interventions(planned(config, "grpo").folder)[0]["to_step"] == 0  # no checkpoint: from its start
    path = planned(config, "grpo").folder / "interventions.json"
    path.write_text(path.read_text().replace("0.0005", "0.001"))  # the cure fails
    assert run_stage(config, "grpo") == 4
    assert "1 rollbacks did not cure it" in capsys.readouterr().err


def test_rollback_that_comes_to_the_same_step_goes_further_back(tmp_path: Path) -> None:
    """Checkpoints of steps 1 to 4; step 5 is sick, sick again, then step 7 is, and then step 2."""
    alarm = {"step": 5, "detector": "kl_jump", "message": "", "samples": []}

    def steps() -> list[int]:
        return sorted(int(path.name.rpartition("-")[2]) for path in (tmp_path / "checkpoints").iterdir())

    def add(*numbers: int) -> None:
        for number in numbers:
            folder = tmp_path / "checkpoints" / f"checkpoint-{number}"
            folder.mkdir(parents=True)
            (folder / MANIFEST).write_text("{}")

    add(1, 2, 3, 4)
    assert roll_back(tmp_path, alarm, 5, 0.5, 1.0)["to_step"] == 4
    assert roll_back(tmp_path, alarm, 5, 0.5, 0.5)["to_step"] == 3
    assert steps() == [1, 2, 3]
    add(4, 5, 6)
    assert roll_back(tmp_path, {**alarm, "step": 7}, 7, 0.5, 0.25)["to_step"] == 6
    assert roll_back(tmp_path, {**alarm, "step": 2}, 2, 0.5, 0.125)["to_step"] == 1
    assert [one["learning_rate"] for one in interventions(tmp_path)] == [0.5, 0.25, 0.125, 0.0625]


def running(config: Path, codes: list[int]) -> Callable[[Any], RanksEnd]:
    """A starter that runs each stage in this process and notes its exit code."""

    def start(planned_stage: Any) -> RanksEnd:
        code = run_stage(config, planned_stage.name)
        codes.append(code)
        return RanksEnd({0: code}, Failure(0, code, Path("rank0.log")) if code else None)

    return start


@pytest.mark.usefixtures("sick_at_full_rate")
def test_runner_starts_a_rolled_back_stage_again_and_its_child_has_another_fingerprint(tmp_path: Path) -> None:
    grpo = stage("grpo", folder=tmp_path, trainer={"max_steps": 3}, health={"truncation": "rollback"})
    grpo["trainer"]["lr_scheduler_type"] = "constant"
    sft = stage("sft", folder=tmp_path, trainer={"max_steps": 1})
    config = write_pipeline(tmp_path, grpo, sft)
    loaded = load_pipeline(config)
    run_dir = Path(loaded.runtime.runs_dir) / loaded.name

    def plan() -> RunPlan:
        return plan_run(loaded, run_dir)

    before, codes = plan(), []
    assert run_stages(before, running(config, codes), past_gates=False, replan=plan) == 0
    assert codes == [0, 76, 0, 0]
    after = plan()
    assert after.done
    assert after["grpo"].fingerprint == before["grpo"].fingerprint
    assert after["sft"].fingerprint != before["sft"].fingerprint
    (made,) = after["sft"].identity["parent_interventions"][0]
    assert made["action"] == "rollback"
    assert verify_record(after["sft"].folder) == []


@pytest.mark.parametrize(("fp16", "left"), [(True, {"loss": 1.0}), (False, {"loss": 1.0, "grad_norm": math.inf})])
def test_an_overflow_that_float16_s_loss_scaler_skips_is_not_judged(fp16: bool, left: dict[str, float]) -> None:
    assert judged({"loss": 1.0, "grad_norm": math.inf, "perf/mfu": 0.1}, fp16) == left
