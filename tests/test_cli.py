"""The command line: exit codes, messages without tracebacks, and what each command shows."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from launch.cli import main, parse
from launch.lock import RunLock
from launch.shadow import shadow_message
from tests.fake_artifacts import finish, finish_all
from tests.test_plan import EVERYTHING, PIPELINE
from training.config import load_pipeline
from training.plan import RunPlan, plan_run
from training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline file in a working folder of its own."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "planned.yaml"
    path.write_text(PIPELINE)
    return path


def started(config: Path, *overrides: str) -> RunPlan:
    """The run folder as `posttrain run` leaves it before stage 1."""
    pipeline = load_pipeline(config, list(overrides))
    run_plan = plan_run(pipeline, Path("runs") / pipeline.name)
    folder = RunFolder(run_plan.run_dir)
    folder.write_resolved(pipeline, config, list(overrides), run_plan.fingerprints, run_plan.folders)
    return run_plan


def test_cli_overrides_stand_on_both_sides_of_options(config: Path) -> None:
    arguments = parse(["run", str(config), "seed=1", "--past-gates", "name=x"])
    assert (arguments.overrides, arguments.past_gates) == (["seed=1", "name=x"], True)


@pytest.mark.parametrize("argv", [[], ["fly"], ["run"], ["run", "c.yaml", "--fast"], ["run", "c.yaml", "seed"]])
def test_cli_wrong_usage_exits_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(argv)
    assert end.value.code == 2
    assert "usage: posttrain" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["plan", "c.yaml", "--fast"], "unrecognized arguments: --fast"),
        (["plan", "c.yaml", "seed"], "seed is no override"),
        (["plan"], "the following arguments are required: CONFIG\n"),
    ],
)
def test_cli_wrong_usage_of_a_verb_shows_the_usage_of_that_verb(
    argv: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(argv)
    shown = capsys.readouterr().err
    assert shown.startswith("usage: posttrain plan ")
    assert message in shown


@pytest.mark.parametrize("command", ["run", "plan", "clean"])
def test_cli_absent_config_exits_2_with_one_line(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "absent.yaml"]) == 2
    shown = capsys.readouterr().err
    assert "absent.yaml" in shown
    assert "Traceback" not in shown


def test_cli_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "absent.yaml", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_cli_path_that_no_file_can_have_exits_2_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "x" * 300]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_cli_full_disk_exits_1_with_one_line(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_space(*arguments: object) -> None:
        raise OSError(28, "No space left on device", "runs/planned")

    monkeypatch.setattr("training.run_folder.write_json", no_space)
    assert main(["run", str(config)]) == 1
    shown = capsys.readouterr().err
    assert "disk is full" in shown
    assert "Traceback" not in shown


def test_cli_plan_shows_every_stage_and_writes_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(config)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in EVERYTHING)
    assert not Path("runs").exists()


def test_cli_plan_of_a_foreign_run_folder_exits_2(config: Path) -> None:
    Path("runs/planned").mkdir(parents=True)
    Path("runs/planned/pipeline.resolved.json").write_text(json.dumps({"name": "other", "schema_version": 1}))
    assert main(["plan", str(config)]) == 2


def test_cli_run_in_a_folder_in_use_exits_2_naming_the_owner(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLock(Path("runs/planned")):
        assert main(["run", str(config)]) == 2
    assert platform.node() in capsys.readouterr().err


def test_cli_run_of_a_finished_run_is_done_at_once_and_rebuilds_the_report(
    config: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    finish_all(started(config))
    for starter in ("launch.run.run_ranks", "launch.node.run_ranks"):
        monkeypatch.setattr(starter, lambda *arguments: pytest.fail("a process was started"))
    assert main(["run", str(config)]) == 0
    shown = capsys.readouterr().out
    assert shown.count("done: record") == len(EVERYTHING)
    assert "Everything is done" in shown
    assert Path("runs/planned/report.html").is_file()


@pytest.mark.parametrize("argument", ["runs/planned", "planned", "planned.yaml"])
def test_cli_status_finds_a_run_however_it_is_named(
    config: Path, argument: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run_plan = started(config)
    finish(run_plan, run_plan["base"])
    run_plan["evaluate-base"].folder.mkdir()
    assert main(["status", argument]) == 0
    shown = capsys.readouterr().out
    assert f"{run_plan['base'].folder.name}" in shown
    assert "done 2026-11-22 04:40 UTC" in shown
    assert "unfinished" in shown
    assert "not started: sft" in shown


def test_cli_status_tells_unused_folders_and_lost_files(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finish_all(started(config))
    changed = started(config, "stages.dpo.trainer.learning_rate=1e-5")
    (changed["sft"].folder / "model" / "weights.txt").unlink()
    assert main(["status", "planned"]) == 0
    shown = capsys.readouterr().out
    assert sum("  unused " in line for line in shown.splitlines()) == 4
    assert f"{changed['sft'].folder.name}: model/weights.txt is missing" in shown


def test_cli_status_tells_the_newest_alarm_of_each_detector(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_plan = started(config)
    alarms = [("truncation", 3), ("kl_jump", 4), ("truncation", 9)]
    rows = [{"step": step, "detector": name, "message": "found", "samples": [step]} for name, step in alarms]
    folder = run_plan["sft"].folder
    folder.mkdir()
    (folder / "alarms.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["status", "planned"]) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("alarm: ")]
    assert told == [
        f"alarm: {folder.name}: kl_jump at step 4: found; see samples.jsonl, line 4",
        f"alarm: {folder.name}: truncation at step 9: found; see samples.jsonl, line 9",
    ]


def test_cli_status_of_nothing_exits_2(config: Path) -> None:
    assert main(["status", "absent"]) == 2


def test_cli_clean_removes_only_what_is_unused_and_only_when_told(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = started(config)
    finish_all(old)
    finish_all(started(config, "stages.dpo.trainer.learning_rate=1e-5"))
    assert main(["clean", str(config)]) == 0
    assert "4 unused folders" in capsys.readouterr().out
    folders = RunFolder(old.run_dir).stages()
    assert len(folders) == len(EVERYTHING) + 4
    assert main(["clean", str(config), "--yes"]) == 0
    assert {folder.path for folder in RunFolder(old.run_dir).stages()} == set(old.folders.values())


def test_cli_schema_prints_json_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "stages" in json.loads(capsys.readouterr().out)["properties"]


def test_shadow_check_is_content_here() -> None:
    assert shadow_message() is None


def test_shadow_check_names_the_intruder(tmp_path: Path) -> None:
    """A package `data` of somebody else's, found before ours, stops `python -m launch` with its place."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "__init__.py").write_text("")
    shutil.copytree(ROOT / "launch", tmp_path / "ours" / "launch")
    for room in ("training", "data"):
        (tmp_path / "ours" / room).symlink_to(ROOT / room)
    places = [str(tmp_path), str(tmp_path / "ours")]
    code = f"import sys; sys.path[:0] = {places!r}; import launch.cli; launch.cli.entry()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2
    assert str(tmp_path / "data" / "__init__.py") in done.stderr
