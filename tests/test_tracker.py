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

from data.errors import UserError
from training.tracker import NullTracker, WandbTracker, open_tracker, wandb_mode

BLOCK = 32 * 1024
COLUMNS = ["prompt", "completion", "reward"]
ROWS = [["2 + 2?", "<b>4</b>", 1.0], ["9 - 3?", "six", None]]


@pytest.fixture(autouse=True)
def _no_wandb_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)


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


def read_run(folder: Path) -> tuple[Any, dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """(run record, config, history rows, summary) of the only offline run under a stage folder."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    run, config, history, summary = None, {}, [], {}
    for record in read_wandb_file(path):
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


def open_for_test(folder: Path, tracker: str = "wandb", mode: str = "auto") -> Any:
    runtime = SimpleNamespace(tracker=tracker, tracker_mode=mode)
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
    assert "wandb sync" in message
    assert [row["loss"] for row in read_run(tmp_path)[2]] == [0.5]


def test_server_that_answers_nonsense_falls_back_to_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.tracker._why_server_is_away", lambda base_url: None)
    monkeypatch.setattr("training.tracker.INIT_TIMEOUT_S", 2)
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
