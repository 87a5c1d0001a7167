"""Planning: what a change of the config redoes, in which folders, and the reasons given."""

import json
import os
import platform
import time
from pathlib import Path

import pytest

from data.errors import UserError
from launch.cli import main
from launch.plan_text import plan_text
from launch.running import with_running_stages
from tests.fake_artifacts import finish, finish_all
from training.config import load_pipeline
from training.pins import Pins
from training.plan import RunPlan, plan_run
from training.rank_state import RankState
from training.run_folder import RunFolder

PIPELINE = """
name: planned
seed: 17
model: bundled:tiny-random
suites:
  in_domain:
    items: 8
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}}}
evaluate: {suites: [in_domain], max_completion_length: 16}
stages:
  - name: sft
    kind: sft
    batch_size: 8
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 64, completions: worked}}
    trainer: {max_steps: 3, learning_rate: 1e-3}
  - name: pairs
    kind: sample
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 16}}
    draws: 4
    rewards: [answer]
  - name: dpo
    kind: dpo
    batch_size: 8
    data: stage:pairs
    trainer: {max_steps: 2, learning_rate: 5e-6}
  - name: grpo
    kind: grpo
    batch_size: 8
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 32}}
    rewards: [answer, {name: format, weight: 0.5}]
    trainer: {max_steps: 2, learning_rate: 1e-4, num_generations: 4}
"""
EVERYTHING = ["base", "evaluate-base", "sft", "evaluate-sft", "pairs", "dpo", "evaluate-dpo", "grpo", "evaluate-grpo"]


def plan(tmp_path: Path, *overrides: str, text: str = PIPELINE) -> RunPlan:
    """Plan the pipeline with overrides in the run folder of this test."""
    config = tmp_path / "planned.yaml"
    config.write_text(text)
    return plan_run(load_pipeline(config, list(overrides)), tmp_path / "runs" / "planned")


def to_do(run_plan: RunPlan) -> list[str]:
    return [stage.name for stage in run_plan.stages if stage.state != "done"]


def test_plan_new_run_does_everything_base_first(tmp_path: Path) -> None:
    run_plan = plan(tmp_path)
    assert to_do(run_plan) == EVERYTHING
    assert run_plan["base"].folder.name == f"00-base-{run_plan['base'].fingerprint[:8]}"
    assert run_plan["dpo"].parents == ["sft", "pairs"]
    assert run_plan["grpo"].parents == ["dpo"]
    assert {stage.reason for stage in run_plan.stages} == {"run: new"}


def test_plan_finished_run_does_nothing_and_says_since_when(tmp_path: Path) -> None:
    finish_all(plan(tmp_path))
    again = plan(tmp_path)
    assert to_do(again) == []
    assert again["sft"].reason == f"done: record {again['sft'].fingerprint[:8]} from 2026-11-22 04:40 UTC"


def test_plan_one_dpo_hyperparameter_redoes_dpo_and_what_follows(tmp_path: Path) -> None:
    before = plan(tmp_path)
    finish_all(before)
    after = plan(tmp_path, "stages.dpo.trainer.learning_rate=1e-5")
    assert to_do(after) == ["dpo", "evaluate-dpo", "grpo", "evaluate-grpo"]
    old = before["dpo"].fingerprint[:8]
    expected = f"run: changed since {old}: stages.dpo.trainer.learning_rate 5e-06 -> 1e-05"
    assert after["dpo"].reason == expected
    changed = f"parent dpo {old} -> {after['dpo'].fingerprint[:8]}"
    assert after["grpo"].reason.endswith(changed)
    assert after["dpo"].folder != before["dpo"].folder
    assert after["dpo"].folder.parent == before["dpo"].folder.parent


def test_plan_value_changed_back_finds_the_old_artifacts(tmp_path: Path) -> None:
    finish_all(plan(tmp_path))
    finish_all(plan(tmp_path, "stages.dpo.trainer.learning_rate=1e-5"))
    assert to_do(plan(tmp_path)) == []


@pytest.mark.parametrize(
    "override",
    [
        "runtime.micro_batch_size=8",
        "runtime.processes=2",
        "runtime.zero_stage=2",
        "runtime.checkpoint_every=1",
        "runtime.tracker=wandb",
        "evaluate.batch_size=3",
        "stages.pairs.batch_size=3",
        "stages.dpo.trainer.dataloader_num_workers=1",
        "stages.dpo.trainer.learning_rate=0.000005",
        "stages.sft.gate={suite: in_domain, min_gain: 0.1}",
    ],
)
def test_plan_how_and_where_a_run_runs_redoes_nothing(tmp_path: Path, override: str) -> None:
    finish_all(plan(tmp_path))
    assert to_do(plan(tmp_path, override)) == []


@pytest.mark.parametrize(
    ("override", "first"),
    [
        ("seed=18", "evaluate-base"),
        ("stages.sft.batch_size=16", "sft"),
        ("stages.sft.save_dtype=bfloat16", "sft"),
        ("stages.sft.trainer.bf16=true", "sft"),
        ("stages.pairs.draws=8", "pairs"),
        ("stages.pairs.seed=5", "pairs"),
        ("stages.grpo.rewards=[answer]", "grpo"),
        ("stages.grpo.rewards=[answer, {name: format, weight: 0.4}]", "grpo"),
        ("system=Be brief.", "evaluate-base"),
    ],
)
def test_plan_what_a_run_computes_redoes_from_there(tmp_path: Path, override: str, first: str) -> None:
    finish_all(plan(tmp_path))
    assert to_do(plan(tmp_path, override))[0] == first


def test_plan_training_data_changes_what_suites_exclude(tmp_path: Path) -> None:
    """Suites leave out what any stage trains on, so new training data can mean other items, for the base as well."""
    finish_all(plan(tmp_path))
    assert to_do(plan(tmp_path, "stages.sft.data.generator.rows=65"))[0] == "evaluate-base"
    kept = "suites.in_domain.exclude_training_prompts=false"
    finish_all(plan(tmp_path, kept))
    assert to_do(plan(tmp_path, kept, "stages.sft.data.generator.rows=65"))[0] == "sft"


def test_plan_other_base_model_redoes_everything(tmp_path: Path) -> None:
    finish_all(plan(tmp_path))
    assert to_do(plan(tmp_path, "model=bundled:smollm2-135m-instruct")) == EVERYTHING


def test_plan_inserted_stage_finds_the_renumbered_ones(tmp_path: Path) -> None:
    before = plan(tmp_path)
    finish_all(before)
    text = PIPELINE.replace(
        "stages:\n", "stages:\n  - {name: again, kind: evaluate, from: base, suites: [in_domain]}\n"
    )
    after = plan(tmp_path, text=text)
    assert to_do(after) == ["again"]
    assert after["grpo"].index == before["grpo"].index + 1
    assert after["grpo"].folder == before["grpo"].folder


def test_plan_folder_without_a_record_is_interrupted(tmp_path: Path) -> None:
    folder = plan(tmp_path)["sft"].folder
    folder.mkdir(parents=True)
    assert plan(tmp_path)["sft"].state == "interrupted"
    assert plan(tmp_path)["sft"].reason == "run: an earlier attempt left no checkpoint"
    for step in (2, 10):
        checkpoint = folder / "checkpoints" / f"checkpoint-{step}"
        checkpoint.mkdir(parents=True)
        (checkpoint / "manifest.json").write_text("{}")
    (folder / "checkpoints" / "checkpoint-12").mkdir()
    (folder / "ranks").mkdir()
    (folder / "ranks" / "0.json").write_text(json.dumps({"step": 12, "max_steps": 60}))
    expected = "resume: from the checkpoint at step 10 (it had reached step 12 of 60)"
    assert plan(tmp_path)["sft"].reason == expected


def test_plan_lost_file_of_an_artifact_is_named(tmp_path: Path) -> None:
    before = plan(tmp_path)
    finish_all(before)
    (before["sft"].folder / "model" / "weights.txt").unlink()
    assert plan(tmp_path)["sft"].reason.endswith(f"but model/weights.txt is missing from {before['sft'].folder.name}")


def test_plan_local_file_counts_by_content_not_by_path(tmp_path: Path) -> None:
    rows = '{"prompt": "1 + 1 = ?", "completion": "2"}\n'
    for name in ("one.jsonl", "two.jsonl"):
        (tmp_path / name).write_text(rows)
    generator = "{generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 64, completions: worked}}"
    prints = []
    for name in ("one.jsonl", "two.jsonl"):
        text = PIPELINE.replace(generator, json.dumps({"path": str(tmp_path / name)}))
        prints.append(plan(tmp_path, text=text)["sft"].fingerprint)
    (tmp_path / "two.jsonl").write_text(rows.replace("2", "3"))
    prints.append(plan(tmp_path, text=text)["sft"].fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_plan_local_model_counts_by_its_files(tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "weights").write_text("0.5")
    before = plan(tmp_path, f"model={model}")["base"].fingerprint
    model.rename(tmp_path / "moved")
    assert plan(tmp_path, f"model={tmp_path / 'moved'}")["base"].fingerprint == before
    (tmp_path / "moved" / "weights").write_text("0.6")
    assert plan(tmp_path, f"model={tmp_path / 'moved'}")["base"].fingerprint != before


def test_plan_hub_model_by_commit_needs_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pins, "_resolve", lambda *arguments: pytest.fail("the hub was asked"))
    run_plan = plan(tmp_path, f"model=org/name@{'a' * 40}")
    assert run_plan["base"].identity["model"] == {"hub": "org/name", "commit": "a" * 40}
    assert run_plan.pins == {}


def test_plan_hub_branch_is_resolved_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pins, "_resolve", lambda *arguments: "b" * 40)
    run_plan = plan(tmp_path, "model=org/name@main")
    assert run_plan.pins == {"org/name@main": "b" * 40}
    run_plan.run_dir.mkdir(parents=True)
    (run_plan.run_dir / "pins.json").write_text(json.dumps(run_plan.pins))
    monkeypatch.setattr(Pins, "_resolve", lambda *arguments: "c" * 40)
    assert plan(tmp_path, "model=org/name@main")["base"].fingerprint == run_plan["base"].fingerprint
    assert plan(tmp_path, f"model=org/name@{'b' * 40}")["base"].fingerprint == run_plan["base"].fingerprint


def test_plan_tells_a_running_stage_from_a_killed_one(tmp_path: Path) -> None:
    """This process is the rank; then it has ended, and a process that is gone has left no outcome."""
    folder = plan(tmp_path)["sft"].folder
    state = {"pid": os.getpid(), "host": platform.node(), "phase": "train", "step": 2, "max_steps": 3, "outcome": None}
    (folder / "ranks").mkdir(parents=True)

    def planned(**changes: object) -> tuple[str, str]:
        (folder / "ranks" / "0.json").write_text(json.dumps(state | changes))
        found = with_running_stages(plan(tmp_path))["sft"]
        return found.state, found.reason

    assert planned() == ("running", f"running: step 2 of 3, process {os.getpid()} on {platform.node()}")
    killed = ("interrupted", "run: an earlier attempt left no checkpoint (it had reached step 2 of 3)")
    assert planned(outcome="failed") == killed
    assert planned(pid=2**22 + 1) == killed  # beyond the greatest pid of Linux
    assert planned(born="1") == killed  # the pid is another process's by now
    rank = RankState(folder, 0)
    assert with_running_stages(plan(tmp_path))["sft"].reason.startswith("running: starting, process")
    rank.finish("failed")
    assert (
        planned(host="elsewhere", phase="load", max_steps=None)[1]
        == f"running: load, process {os.getpid()} on elsewhere"
    )
    os.utime(folder / "ranks" / "0.json", (0, 0))
    assert with_running_stages(plan(tmp_path))["sft"].state == "interrupted"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ('{"org/name@main": "b', "is not JSON"),
        ("[]", "holds list, no JSON object"),
        ('{"org/name@main": "main"}', "org/name@main is pinned to 'main'"),
        ('{"org/name@main": null}', "org/name@main is pinned to None"),
    ],
)
def test_plan_with_damaged_pins_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, told: str
) -> None:
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    (run_dir / "pins.json").write_text(content)
    (tmp_path / "demo.yaml").write_text(PIPELINE)
    assert main(["plan", str(tmp_path / "demo.yaml"), "--run-dir", str(run_dir)]) == 2
    message = capsys.readouterr().err
    assert told in message
    assert "remove it: branches are looked up anew" in message
    assert "Traceback" not in message


def test_plan_hub_branch_offline_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="40 hex digits"):
        plan(tmp_path, "model=org/name@main", "offline=true")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model=./absent", "is no folder"),
        ("model=absent", "is no folder"),
        ("model=bundled:absent", "not shipped"),
    ],
)
def test_plan_absent_model_is_a_user_error(tmp_path: Path, override: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        plan(tmp_path, override)


def test_run_folder_of_another_pipeline_is_refused(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    folder.check("planned")
    folder.resolved_path.write_text(json.dumps({"name": "other", "schema_version": 1}))
    with pytest.raises(UserError, match="belongs to the pipeline 'other'"):
        folder.check("planned")
    folder.resolved_path.write_text(json.dumps({"name": "planned", "schema_version": 2}))
    with pytest.raises(UserError, match="schema_version 2"):
        folder.check("planned")


def test_plan_text_says_steps_in_words(tmp_path: Path) -> None:
    config = tmp_path / "planned.yaml"
    config.write_text(PIPELINE)
    pipeline = load_pipeline(config, ["runtime.processes=2", "runtime.micro_batch_size=2"])
    text = plan_text(pipeline, plan(tmp_path))
    assert "one SFT step = 8 rows = 2 ranks x 2 rows x 2 accumulation steps; 3 steps = 0.4 epochs of 64 rows" in text
    assert "one GRPO step = 2 prompts x 4 completions = 8 completions on 2 ranks (2 completions x 2 acc" in text
    assert "1 optimizer update a round of 8 completions; 2 updates = 0.1 epochs of 32 prompts" in text
    assert (
        "one DPO step = 8 pairs = 2 ranks x 2 pairs x 2 accumulation steps; "
        "2 steps = at least 1.0 epochs of the pairs of stage pairs" in text
    )
    assert "pairs: 16 prompts x 4 draws, keeps pairs" in text
    assert "evaluate base, sft, dpo, grpo: in_domain 8 items, greedy, up to 16 tokens" in text


def test_plan_takes_little_time(tmp_path: Path) -> None:
    plan(tmp_path)
    started = time.process_time()
    plan(tmp_path)
    assert time.process_time() - started < 0.3


def test_record_of_an_unused_folder_does_not_count(tmp_path: Path) -> None:
    """A newer artifact of another experiment never stands in for the one asked for."""
    run_plan = plan(tmp_path)
    finish(run_plan, run_plan["base"])
    os.rename(run_plan["base"].folder, run_plan["base"].folder.with_name("00-base-00000000"))
    assert plan(tmp_path)["base"].state == "new"
    assert Path(tmp_path / "runs").exists()
