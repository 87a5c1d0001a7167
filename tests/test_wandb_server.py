"""wandb's server: away, answering nonsense, and what `posttrain sync` sends it."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from launch.cli import main
from tests.fake_run import write_fake_run
from tests.wandb_runs import open_for_test, read_run, stage_folder
from tests.wandb_standin import ENTITY, Server, wandb_standin
from training.wandb_sync import unsent_runs
from training.wandb_tracker import WandbTracker

pytestmark = pytest.mark.usefixtures("no_wandb_login")


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


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    with wandb_standin() as running:
        monkeypatch.setenv("WANDB_BASE_URL", running.url)
        monkeypatch.setenv("WANDB_API_KEY", "f" * 40)
        wandb.teardown()  # whatever has read another address
        yield running
        wandb.teardown()


def history(server: Server, run_id: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in server.streamed[run_id, "wandb-history.jsonl"]]


def test_sync_sends_what_was_tracked_offline_and_sends_it_once(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_fake_run(tmp_path / "quickstart")
    folder, record = stage_folder(run, "sft")
    tracker = open_for_test(folder, mode="offline")
    for step in (1, 2, 3):
        tracker.log({"loss": 1.0 / step}, step)
    tracker.summary({"in_domain": {"accuracy": 0.5}})
    tracker.artifacts(folder, record, [])
    tracker.finish("preempted")
    run_id = (folder / "wandb_run_id").read_text().strip()

    assert main(["sync", str(run)]) == 0
    assert "sent: " in capsys.readouterr().out
    assert [(row["step"], row["loss"]) for row in history(server, run_id)] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    upserted = server.variables_of("UpsertBucket")[0]
    assert (upserted["name"], upserted["groupName"], upserted["jobType"]) == (run_id, "quickstart", "grpo")
    assert json.loads(upserted["config"])["batch_size"] == {"value": 32}
    assert server.exit_codes[run_id] == 1
    names = [asked["input"]["artifactCollectionName"] for asked in server.variables_of("CreateArtifact")]
    assert f"quickstart-sft-{record['fingerprint'][:8]}" in names
    assert not any(path.endswith(".safetensors") for path in server.uploads)
    assert unsent_runs(run) == []
    assert main(["sync", str(run)]) == 0
    assert "nothing to send" in capsys.readouterr().out


def test_online_tracker_sends_while_the_stage_runs_and_goes_on_in_the_same_run(tmp_path: Path, server: Server) -> None:
    for step in (1, 2):
        tracker = open_for_test(tmp_path, mode="online")
        assert not tracker.offline
        tracker.log({"loss": 1.0 / step}, step)
        tracker.finish()
    run_id = (tmp_path / "wandb_run_id").read_text().strip()
    assert {asked["name"] for asked in server.variables_of("RunResumeStatus")} == {run_id}
    assert [(row["step"], row["loss"]) for row in history(server, run_id)][-1:] == [(2, 0.5)]
    assert server.exit_codes[run_id] == 0


def test_dashboards_are_saved_as_views_of_the_logins_project(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb_workspaces", reason="wandb-workspaces is not installed")
    assert main(["dashboard", "push", "configs/tiny.yaml"]) == 0
    views = server.variables_of("UpsertView2")
    assert {(view["entityName"], view["projectName"]) for view in views} == {(ENTITY, "posttrain")}
    told = capsys.readouterr().out
    assert all(view["displayName"] in told for view in views)
    assert "timing_s/generate" in "".join(view["spec"] for view in views)
