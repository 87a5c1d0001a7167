"""What is in a stage's wandb run, by the real package, read back from the file that it leaves on disk."""

import json
from pathlib import Path

import pytest

from tests.fake_run import write_fake_run
from tests.stage_runs import planned, run_stage, stage, write_pipeline
from tests.wandb_runs import all_records, open_for_test, read_run, stage_folder
from training.metric_names import describe
from training.record import read_record, record_sha256
from training.verl_names import NAMES as VERL_NAMES
from training.verl_names import verl_aliases

COLUMNS = ["prompt", "completion", "reward"]
ROWS = [["2 + 2?", "<b>4</b>", 1.0], ["9 - 3?", "six", None]]

pytestmark = pytest.mark.usefixtures("no_wandb_login")


def test_offline_run_read_back_has_metrics_config_group_and_table(tmp_path: Path) -> None:
    tracker = open_for_test(tmp_path)
    for step in range(1, 400):
        tracker.log({"loss": 1.0 / step, "timing_s/generate": 0.25, "kl": None}, step)
    tracker.table("completions", COLUMNS, ROWS, 399)
    tracker.summary({"in_domain": {"accuracy": 0.5}})
    tracker.finish()

    run, config, history, summary = read_run(tmp_path)
    assert (run.run_group, run.display_name, run.job_type, run.project) == ("quickstart", "grpo", "grpo", "posttrain")
    assert config["batch_size"] == 32
    assert config["trainer"] == {"beta": 0.0}
    losses = {row["step"]: row["loss"] for row in history if "loss" in row}
    assert losses == {step: 1.0 / step for step in range(1, 400)}
    assert not any("kl" in row for row in history)
    assert summary["in_domain"] == {"accuracy": 0.5}
    (table,) = [row for row in history if any(key.startswith("completions") for key in row)]
    assert table["step"] == 399
    (media,) = tmp_path.glob("wandb/offline-run-*/files/media/table/completions*.table.json")
    assert json.loads(media.read_text()) == {"columns": COLUMNS, "data": ROWS}


def test_offline_run_leaves_no_key_code_or_console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "k3y" * 14
    monkeypatch.setenv("WANDB_API_KEY", key)
    tracker = open_for_test(tmp_path, mode="offline")
    print("console text that must stay here")
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()

    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    for path in files:
        assert key.encode() not in path.read_bytes(), path
        assert path.name not in ("requirements.txt", "wandb-metadata.json", "output.log", "diff.patch"), path
        assert path.suffix != ".py"


def test_reopened_stage_goes_on_in_the_same_wandb_run(tmp_path: Path) -> None:
    names = []
    for step in (1, 2):
        tracker = open_for_test(tmp_path)
        tracker.log({"loss": 1.0}, step)
        tracker.finish()
        names.append({path.stem for path in tmp_path.glob("wandb/offline-run-*/run-*.wandb")})
    assert len(names[1]) == 1
    assert names[0] == names[1]


def test_artifacts_are_references_with_hashes_and_the_parents_are_inputs(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path / "quickstart")
    (folder, record), parent = stage_folder(run, "dpo"), stage_folder(run, "sft")
    tracker = open_for_test(tmp_path / "stage")
    tracker.artifacts(folder, record, [parent])
    tracker.finish()

    found = {one.artifact.name: one.artifact for one in all_records(tmp_path / "stage") if one.HasField("artifact")}
    names = [f"quickstart-{one['stage']}-{one['fingerprint'][:8]}" for one in (record, parent[1])]
    assert set(found) == {*names, f"rows-{'cd' * 6}"}
    assert [found[name].use_after_commit for name in names] == [False, True]
    assert [found[name].type for name in names] == ["model", "model"]
    metadata = json.loads(found[names[0]].metadata)
    assert metadata["files"] == record["files"]
    assert metadata["record_sha256"] == record_sha256(folder)
    pairs = stage_folder(run, "pairs")[1]
    named = [{"stage": one["stage"], "fingerprint": one["fingerprint"]} for one in (parent[1], pairs)]
    assert metadata["parents"] == named
    references = {item.path: item.ref for item in found[names[0]].manifest.contents}
    weights = folder / "model" / "model.safetensors"
    assert references == {"hashes.json": "", "model/model.safetensors": weights.as_uri()}


def test_model_is_uploaded_only_on_request(tmp_path: Path) -> None:
    folder, record = stage_folder(write_fake_run(tmp_path / "quickstart"), "sft")
    tracker = open_for_test(tmp_path / "stage", tracker_upload_model=True)
    tracker.artifacts(folder, record, [])
    tracker.finish()
    found = [one.artifact for one in all_records(tmp_path / "stage") if one.HasField("artifact")]
    (model,) = [one for one in found if one.type == "model"]
    (weights,) = [item for item in model.manifest.contents if item.path.endswith(".safetensors")]
    assert (weights.ref, weights.size) == ("", len(b"sft"))


def test_alerts_and_how_a_stage_ended_are_in_the_run(tmp_path: Path) -> None:
    tracker = open_for_test(tmp_path)
    tracker.alert("grpo: truncation" + "!" * 80, "62% are cut off; see samples.jsonl, line 3")
    tracker.finish("preempted")
    records = all_records(tmp_path)
    (alert,) = [one.alert for one in records if one.HasField("alert")]
    assert (alert.title[:16], alert.level, len(alert.title)) == ("grpo: truncation", "WARN", 63)
    assert alert.text == "62% are cut off; see samples.jsonl, line 3"
    assert [one.exit.exit_code for one in records if one.HasField("exit")] == [1]
    assert any(one.HasField("preempting") for one in records)


def test_metrics_are_drawn_over_the_optimizer_step(tmp_path: Path) -> None:
    tracker = open_for_test(tmp_path)
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()
    metrics = [one.metric for one in all_records(tmp_path) if one.HasField("metric")]
    assert {(one.glob_name, one.step_metric) for one in metrics if one.glob_name} == {("*", "step")}


def test_verl_names_come_beside_ours_for_grpo_alone(tmp_path: Path) -> None:
    tracker = open_for_test(tmp_path, verl_names=True, processes=4)
    tracker.log({"reward": 0.5, "timing_s/forward_backward": 2.0, "timing_s/optimizer": 1.0, "kl": None}, 7)
    tracker.finish()
    (row,) = [row for row in read_run(tmp_path)[2] if "reward" in row]
    assert row["critic/score/mean"] == row["critic/rewards/mean"] == row["reward"] == 0.5
    assert row["timing_s/update_actor"] == 3.0
    assert row["training/global_step"] == 7
    assert "actor/kl_loss" not in row


def test_verl_aliases_name_only_metrics_of_ours_and_divide_throughput_by_the_ranks() -> None:
    assert [name for name in VERL_NAMES if describe(name) is None] == []
    aliases = verl_aliases({"perf/tokens_per_s": 800.0, "probe/in_domain/accuracy": 0.25}, 3, 4)
    assert aliases == {
        "training/global_step": 3,
        "perf/throughput": 200.0,
        "val-core/in_domain/acc/mean@1": 0.25,
    }


def test_a_real_stage_leaves_config_metrics_completions_alarms_and_artifacts_in_its_run(tmp_path: Path) -> None:
    health = {"truncation": {"policy": "warn", "window": 2}}
    config = write_pipeline(tmp_path, stage("grpo", folder=tmp_path, health=health))
    assert run_stage(config, "grpo", "--set", "runtime.tracker=wandb") == 0
    folder = planned(config, "grpo").folder
    record = read_record(folder)
    assert record is not None
    run, tracked, history, summary = read_run(folder)
    assert (run.run_group, run.display_name, run.job_type) == (record["pipeline"], "grpo", "grpo")
    assert tracked["fingerprint"] == record["fingerprint"]
    written = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    logged = {row["step"]: row["reward"] for row in history if "reward" in row}
    assert logged == {row["step"]: row["reward"] for row in written}
    assert summary["loss"] == record["metrics"]["loss"]
    tables = list(folder.glob("wandb/offline-run-*/files/media/table/completions*.table.json"))
    assert len(tables) == 2
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    shown = [row[1] for path in tables for row in json.loads(path.read_text())["data"]]
    assert sorted(shown) == sorted(row["completion"] for row in samples)
    records = all_records(folder)
    assert [one.alert.title for one in records if one.HasField("alert")] == ["grpo: truncation"]
    artifacts = {one.artifact.name.split("-")[-2]: one.artifact for one in records if one.HasField("artifact")}
    assert artifacts["base"].use_after_commit
    assert json.loads(artifacts["grpo"].metadata)["files"] == record["files"]
    assert [one.exit.exit_code for one in records if one.HasField("exit")] == [0]
