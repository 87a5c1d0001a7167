"""The tracker against the real wandb package, read back from the file that it leaves on disk."""

import json
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from wandb.sdk.lib import wbauth

from data.errors import UserError
from launch.cli import main
from tests.fake_run import write_fake_run
from tests.stage_runs import planned, run_stage, stage, write_pipeline
from training.config import load_pipeline
from training.metric_names import describe
from training.record import read_record, record_sha256
from training.report.collect import read_run as view_run
from training.tracker import NullTracker, open_tracker, require_tracker
from training.verl_names import NAMES as VERL_NAMES
from training.verl_names import verl_aliases
from training.wandb_sync import unsent_runs
from training.wandb_tracker import WandbTracker, wandb_mode

BLOCK = 32 * 1024
COLUMNS = ["prompt", "completion", "reward"]
ROWS = [["2 + 2?", "<b>4</b>", 1.0], ["9 - 3?", "six", None]]


@pytest.fixture(autouse=True)
def _no_wandb_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    wbauth.unauthenticate_session()  # an earlier test of this process may have had a key


def read_wandb_file(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: a 7-byte header, then a LevelDB log (32 KiB blocks of CRC, length, kind, bytes)."""
    from wandb.proto import wandb_internal_pb2

    content, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def all_records(folder: Path) -> list[Any]:
    """Every record of the only offline run under a stage folder."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return list(read_wandb_file(path))


def read_run(folder: Path) -> tuple[Any, dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """(run record, config, history rows, summary) of the only offline run under a stage folder."""
    run, config, history, summary = None, {}, [], {}
    for record in all_records(folder):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            items = record.history.item
            history.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
        elif kind == "summary":
            items = record.summary.update
            summary |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
    return run, config, history, summary


def open_for_test(folder: Path, tracker: str = "wandb", mode: str = "auto", **more: Any) -> Any:
    runtime = SimpleNamespace(tracker=tracker, tracker_mode=mode, tracker_upload_model=False, verl_names=False)
    for name, value in more.items():
        setattr(runtime, name, value)
    return open_tracker(runtime, "quickstart", "grpo", "grpo", {"batch_size": 32, "trainer": {"beta": 0.0}}, folder)


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


def test_unreachable_server_falls_back_to_offline_quickly_with_one_message(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from types import SimpleNamespace\n"
        "from training.tracker import open_tracker\n"
        "runtime = SimpleNamespace(tracker='wandb', tracker_mode='online')\n"
        "runtime.tracker_upload_model = runtime.verl_names = False\n"
        "tracker = open_tracker(runtime, 'quickstart', 'sft', 'sft', {}, Path(sys.argv[1]))\n"
        "tracker.log({'loss': 0.5}, 1); tracker.finish()\n"
    )
    environment = {"WANDB_BASE_URL": "http://127.0.0.1:9", "WANDB_API_KEY": "f" * 40, "PATH": "/usr/bin:/bin"}
    environment["HOME"] = str(tmp_path)
    start = time.monotonic()
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(
        command,
        env=environment,
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - start < 60
    (message,) = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    assert "127.0.0.1" in message
    assert "posttrain sync" in message
    assert [row["loss"] for row in read_run(tmp_path)[2]] == [0.5]


def test_server_that_answers_nonsense_falls_back_to_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.wandb_tracker._why_server_is_away", lambda base_url: None)
    monkeypatch.setattr("training.wandb_tracker.INIT_TIMEOUT_S", 2)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    tracker = open_for_test(tmp_path)
    assert isinstance(tracker, WandbTracker)
    assert tracker.offline
    tracker.log({"loss": 0.5}, 1)
    tracker.finish()
    assert [row["loss"] for row in read_run(tmp_path)[2]] == [0.5]


@pytest.mark.parametrize(("tracker", "mode"), [("none", "auto"), ("wandb", "disabled")])
def test_tracker_off_writes_nothing(tmp_path: Path, tracker: str, mode: str) -> None:
    null = open_for_test(tmp_path, tracker, mode)
    assert isinstance(null, NullTracker)
    null.log({"loss": 1.0}, 1)
    null.finish()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("asked", "key", "environment", "offline", "expected"),
    [
        ("auto", "", "", False, "offline"),
        ("auto", "f" * 40, "", False, "online"),
        ("auto", "f" * 40, "", True, "offline"),
        ("auto", "f" * 40, "offline", False, "offline"),
        ("auto", "f" * 40, "disabled", False, "disabled"),
        ("offline", "f" * 40, "online", False, "offline"),
        ("online", "f" * 40, "", False, "online"),
    ],
)
def test_wandb_mode_table(
    monkeypatch: pytest.MonkeyPatch, asked: str, key: str, environment: str, offline: bool, expected: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("WANDB_MODE", environment)
    assert wandb_mode(asked, offline) == expected


def test_online_without_a_key_is_a_user_error_that_names_the_variable() -> None:
    with pytest.raises(UserError, match="WANDB_API_KEY"):
        wandb_mode("online")


def test_online_in_an_offline_pipeline_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    with pytest.raises(UserError, match="offline: true"):
        wandb_mode("online", offline=True)


def stage_folder(run: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a stage of a made-up run with its record."""
    view = view_run(run).stage(name)
    assert view.folder is not None
    assert view.record is not None
    return view.folder, view.record


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


def test_tensorboard_gets_the_ledger_as_well(tmp_path: Path) -> None:
    from tensorboardX.proto import event_pb2

    tracker = open_for_test(tmp_path, "tensorboard")
    tracker.log({"reward": 0.5, "timing_s/generate": 0.25, "kl": None}, 7)
    tracker.finish()
    (path,) = (tmp_path / "tensorboard").iterdir()
    found = {}
    content, position = path.read_bytes(), 0
    while position < len(content):  # TFRecord: length, its CRC, the event, its CRC
        (length,) = struct.unpack_from("<Q", content, position)
        event = event_pb2.Event.FromString(content[position + 12 : position + 12 + length])
        found |= {value.tag: (event.step, value.simple_value) for value in event.summary.value if value.simple_value}
        position += 16 + length
    assert found == {"train/reward": (7, 0.5), "train/timing_s/generate": (7, 0.25)}


@pytest.mark.parametrize("name", ["trackio", "mlflow", "tensorboard"])
def test_tracker_that_is_not_installed_is_a_user_error_with_the_pip_line(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tracker.importlib.util.find_spec", lambda package: None)
    with pytest.raises(UserError, match=f"pip install {name}"):
        open_for_test(tmp_path, name)


@pytest.mark.parametrize(
    ("tracker", "variable", "place", "refused"),
    [
        ("mlflow", "MLFLOW_TRACKING_URI", "https://anna:secret@mlflow.example:5000", "mlflow.example:5000"),
        ("mlflow", "MLFLOW_TRACKING_URI", "databricks", "databricks"),
        ("mlflow", "MLFLOW_TRACKING_URI", "databricks://team", "databricks://team"),
        ("mlflow", "MLFLOW_TRACKING_URI", "sqlite:///mlflow.db", None),
        ("mlflow", "MLFLOW_TRACKING_URI", "file:///data/mlruns", None),
        ("mlflow", "MLFLOW_TRACKING_URI", "mlruns", None),
        ("mlflow", "MLFLOW_TRACKING_URI", "", None),
        ("trackio", "TRACKIO_SPACE_ID", "anna/curves", "anna/curves"),
    ],
)
def test_an_offline_pipeline_refuses_the_server_of_a_tracker(
    tracker: str, variable: str, place: str, refused: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.tracker.importlib.util.find_spec", lambda package: package)
    runtime = SimpleNamespace(tracker=tracker)
    require_tracker(runtime, offline=False, environment={variable: place})
    if refused is None:
        require_tracker(runtime, offline=True, environment={variable: place})
        return
    with pytest.raises(UserError, match=f"{variable} .*{refused}.* contradicts offline: true") as caught:
        require_tracker(runtime, offline=True, environment={variable: place})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("overrides", [["runtime.tracker_mode=online"], ["runtime.tracker_upload_model=true"]])
def test_settings_of_wandb_are_refused_for_other_trackers(overrides: list[str]) -> None:
    with pytest.raises(UserError, match="would be ignored with tracker tensorboard"):
        load_pipeline(Path("configs/tiny.yaml"), ["runtime.tracker=tensorboard", *overrides])


def test_sync_finds_offline_runs_not_sent_before_and_needs_a_login(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_fake_run(tmp_path / "quickstart")
    assert main(["sync", str(run)]) == 0
    assert "nothing to send" in capsys.readouterr().out
    for name in ("sft", "grpo"):
        tracker = open_for_test(stage_folder(run, name)[0])
        tracker.log({"loss": 1.0}, 1)
        tracker.finish()
    waiting = unsent_runs(run)
    assert len(waiting) == 2
    assert main(["sync", str(run)]) == 2
    assert "not logged in" in capsys.readouterr().err
    (file,) = waiting[0].glob("*.wandb")
    file.with_name(f"{file.name}.synced").touch()
    assert unsent_runs(run) == waiting[1:]
    assert main(["sync", str(run), "--dry-run"]) == 0
    assert "1 wandb runs to send" in capsys.readouterr().out


def test_sync_that_the_server_does_not_take_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_fake_run(tmp_path / "quickstart")
    tracker = open_for_test(stage_folder(run, "sft")[0])
    tracker.log({"loss": 1.0}, 1)
    tracker.finish()
    monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
    monkeypatch.setattr("training.wandb_sync.subprocess.run", lambda command, **how: None)
    assert main(["sync", str(run)]) == 1
    assert "not sent" in capsys.readouterr().out


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
