"""A ledger of an earlier run corrects the estimate: made-up ledgers whose effect is known, in a real run folder."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.fake_artifacts import finish
from tests.test_plan import PIPELINE
from training.config import Pipeline, load_pipeline
from training.environment import cpu_model
from training.estimate.estimate import SPREAD_AKIN, SPREAD_OTHER, Estimate, StageEstimate, StageTime, estimate
from training.estimate.hardware import Device, this_cpu
from training.plan import plan_run
from training.run_folder import RunFolder

ENVIRONMENT = {"device": "cpu", "cpu": cpu_model(), "cpu_count": 4, "processes": 1, "zero_stage": 0}
SAMPLES, TOKENS, COMPLETION = 8, 40.0, 12.0
"""Batch size of every stage of PIPELINE, and the tokens of a row in every ledger here; 12 of them a completion."""


def cpu() -> Device:
    return this_cpu(1, cores=4, memory=64e9)


def load(tmp_path: Path, *overrides: str) -> Pipeline:
    config = tmp_path / "planned.yaml"
    config.write_text(PIPELINE)
    return load_pipeline(config, [f"runtime.runs_dir={tmp_path / 'runs'}", *overrides])


def leave_ledger(
    tmp_path: Path, stage: str, seconds: dict[str, float], run: str = "planned", **environment: Any
) -> None:
    """Finish one stage in a run whose steps after a slow first one took `seconds` by phase."""
    pipeline = load(tmp_path).model_copy(update={"name": run})
    plan = plan_run(pipeline, tmp_path / "runs" / run)
    folder = RunFolder(plan.run_dir)
    folder.write_resolved(pipeline, tmp_path / "planned.yaml", [], plan.fingerprints, plan.folders)
    config = next(one for one in pipeline.stages if one.name == stage).model_dump(mode="json")
    facts = ENVIRONMENT | {"micro_batch_size": 4} | environment
    spent = {"ledger": {"wall_s": 99.0, "timing_s": seconds}, "environment": facts, "config": config}
    finish(plan, plan[stage], **spent)
    step_s = sum(seconds.values())
    step = {f"timing_s/{phase}": value for phase, value in seconds.items()} | {"timing_s/step": step_s}
    step |= {"perf/tokens_per_s": SAMPLES * TOKENS / step_s}
    step |= {"completions/mean_length": COMPLETION, "completions/max_length": 20.0}
    slow = {key: 100 * value for key, value in step.items()}
    lines = [{"step": 1, **slow}, {"step": 2, **step}, {"step": 3, **step}]
    (plan[stage].folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def estimated(tmp_path: Path, *overrides: str, device: Device | None = None) -> Estimate:
    """The estimate of a run of another name beside those with ledgers."""
    pipeline = load(tmp_path, "name=next", *overrides)
    return estimate(pipeline, plan_run(pipeline, tmp_path / "runs" / "next"), device or cpu())


def stage(found: Estimate, name: str) -> StageEstimate:
    return next(one for one in found.stages if one.name == name)


def time_of(found: Estimate, name: str) -> StageTime:
    time = stage(found, name).time
    assert time is not None
    return time


def likely(found: Estimate, name: str) -> float:
    update = time_of(found, name).update_s
    assert update is not None
    return update.likely


def test_the_same_work_is_predicted_as_it_was_measured(tmp_path: Path) -> None:
    """Forward and backward 2 s, optimizer 0.5 s and 0.1 s of data: the same stage takes 2.6 s a step again."""
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0, "optimizer": 0.5, "data": 0.1})
    time = time_of(estimated(tmp_path), "sft")
    assert time.phases == pytest.approx(
        {"forward_backward": 2.0, "optimizer": 0.5, "other": 0.1, "logprobs": 0.0, "generate": 0.0}
    )
    assert time.lengths.row == TOKENS
    assert time.update_s is not None
    assert time.update_s.high == pytest.approx(2.5 * SPREAD_AKIN + 0.1)
    assert time.calibration.sources["optimizer"].startswith("planned/02-sft-")


def test_twice_the_batch_takes_twice_the_passes_and_one_optimizer_step(tmp_path: Path) -> None:
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0, "optimizer": 0.5})
    assert likely(estimated(tmp_path, "stages.sft.batch_size=16"), "sft") == pytest.approx(4.5)


def test_another_kind_is_calibrated_too_with_less_trust(tmp_path: Path) -> None:
    """DPO has no ledger: twice the seconds in SFT's mean twice in DPO's, within the wider factor."""
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0, "optimizer": 0.5})
    slow = estimated(tmp_path)
    leave_ledger(tmp_path, "sft", {"forward_backward": 1.0, "optimizer": 0.25}, run="newer")
    records = sorted((tmp_path / "runs" / "newer").glob("*/record.json"))
    records[0].write_text(records[0].read_text().replace("2026-11-22T04:40", "2026-11-23T04:40"))
    fast = estimated(tmp_path)
    assert likely(slow, "dpo") == pytest.approx(2 * likely(fast, "dpo"))
    time = time_of(fast, "dpo")
    assert time.calibration.sources["forward_backward"].startswith("newer/")
    assert time.update_s is not None
    assert time.update_s.high > time.update_s.likely * SPREAD_OTHER


def test_rollouts_are_calibrated_by_rollouts_alone(tmp_path: Path) -> None:
    leave_ledger(tmp_path, "grpo", {"generate": 6.0, "forward_backward": 2.0})
    found = estimated(tmp_path)
    assert likely(found, "grpo") == pytest.approx(8.0, rel=1e-3)  # and an optimizer step nobody measured
    assert time_of(found, "grpo").lengths.completion == COMPLETION
    assert "decode" not in time_of(found, "pairs").calibration.factors


def test_lengths_that_filled_the_old_limit_fill_the_new_one(tmp_path: Path) -> None:
    """Rows of 40 tokens under max_length 1024 stay 40; under a limit of 30 they are cut."""
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0})
    assert time_of(estimated(tmp_path, "stages.sft.trainer.max_length=512"), "sft").lengths.row == TOKENS
    assert time_of(estimated(tmp_path, "stages.sft.trainer.max_length=30"), "sft").lengths.row == 30


@pytest.mark.parametrize(
    "device",
    [replace(this_cpu(1, cores=4, memory=64e9), name="another CPU"), this_cpu(1, cores=8, memory=64e9)],
    ids=["another model of CPU", "another number of cores"],
)
def test_other_machines_do_not_calibrate(tmp_path: Path, device: Device) -> None:
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0})
    assert estimated(tmp_path, device=device).measured == []


def test_other_models_do_not_calibrate(tmp_path: Path) -> None:
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0})
    assert estimated(tmp_path, "model=bundled:smollm2-135m-instruct").measured == []


def test_a_finished_stage_shows_what_it_took(tmp_path: Path) -> None:
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0})
    pipeline = load(tmp_path)
    found = estimate(pipeline, plan_run(pipeline, tmp_path / "runs" / "planned"), cpu())
    assert (stage(found, "sft").spent_s, stage(found, "sft").time) == (99.0, None)


def test_a_broken_or_foreign_run_beside_ours_is_passed_over(tmp_path: Path) -> None:
    leave_ledger(tmp_path, "sft", {"forward_backward": 2.0})
    for name, text in (("broken", "{"), ("foreign", '{"name": "foreign", "model": "bundled:tiny-random"}')):
        (tmp_path / "runs" / name).mkdir()
        (tmp_path / "runs" / name / "pipeline.resolved.json").write_text(text)
    assert len(estimated(tmp_path).measured) == 1
