"""A run watched: what the board tells from files alone, how terminals and logs show it, how watching ends."""

import contextlib
import io
import json
import os
import platform
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from launch.board import SILENT_AFTER_S, BoardReader, Standing
from launch.board_view import SHOWN_WARNINGS, BoardLines, board_renderable, shown_warnings
from launch.cli import main
from launch.lock import RunLock
from launch.screen import live_board
from launch.watch import watch
from tests.fake_run import FakeRun, write_fake_run, write_lines
from tests.test_ledger import Clock
from training.rank_state import write_state
from training.run_folder import RunFolder

BALANCE = {"slowest_rank": 1, "slowest_steps": 19, "steps": 20, "imbalance": 0.3}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run whose DPO stage is at work on two ranks; what follows waits."""
    fake = FakeRun(tmp_path / "run")
    fake.write(finished="pairs")
    stage = fake.run_dir / fake.folders["dpo"]
    (stage / "ranks").mkdir()
    for rank in (0, 1):
        say(stage, rank)
    return RunFolder(fake.run_dir)


def dpo(run: RunFolder) -> Path:
    (folder,) = run.path.glob("??-dpo-*")
    return folder


def say(stage: Path, rank: int, **fields: Any) -> None:
    """Write a rank's state, alive in this process unless told otherwise."""
    state = {"pid": os.getpid(), "host": platform.node(), "phase": "train", "activity": None, "outcome": None}
    state |= {"step": 20 - rank, "max_steps": 40, "heartbeat": 100.0, "progress": 5, "tokens_per_s": 431.0}
    state |= {"metrics": {"loss": 0.5, "rewards/accuracies": 0.75}, "eta_s": [100.0, 90.0, 200.0]}
    write_state(stage / "ranks" / f"{rank}.json", state | fields)


def standing(run: RunFolder, name: str = "dpo") -> Standing:
    return next(stage for stage in BoardReader(run).read().stages if stage.name == name)


def drawn(run: RunFolder, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    console.print(board_renderable(BoardReader(run).read()))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_board_has_every_stage_with_its_state(run: RunFolder) -> None:
    board = BoardReader(run).read()
    states = {stage.name: stage.state for stage in board.stages}
    assert states == {
        **dict.fromkeys(("base", "evaluate-base", "sft", "evaluate-sft", "pairs"), "done"),
        "dpo": "running",
        **dict.fromkeys(("evaluate-dpo", "grpo", "evaluate-grpo"), "waiting"),
    }
    assert not board.done


def test_a_running_stage_is_as_far_as_its_slowest_rank(run: RunFolder) -> None:
    found = standing(run)
    assert (found.step, found.total, found.eta_s, found.tokens_per_s) == (19, 40, (100.0, 90.0, 200.0), 431.0)


def test_terminal_shows_bar_eta_numbers_and_results(run: RunFolder) -> None:
    shown = drawn(run)
    (line,) = [line for line in shown.splitlines() if " dpo " in line]
    for part in ("running", "19/40", "ETA 1 min 40 s (90 s to 3 min 20 s)", "loss 0.5", "accuracies 0.75", "431 tok"):
        assert part in line
    assert "in_domain" in next(line for line in shown.splitlines() if "evaluate-sft" in line)


def test_a_narrow_terminal_cuts_lines_and_wraps_none(run: RunFolder) -> None:
    lines = drawn(run, width=60).splitlines()
    assert len(lines) == 9
    assert max(map(len, lines)) <= 60


def test_warnings_stay_after_their_stage_is_done(run: RunFolder) -> None:
    (sft,) = run.path.glob("??-sft-*")
    for folder in (sft, dpo(run)):
        alarm = {"step": 3, "detector": "gradient_spike", "policy": "warn", "message": "7 times", "samples": []}
        write_lines(folder / "alarms.jsonl", [alarm])
    warnings = BoardReader(run).read().warnings
    assert [warning.partition(":")[0] for warning in warnings if "7 times" in warning][-1] == "dpo"
    assert "gradient_spike at step 3: 7 times" in drawn(run)


def test_many_warnings_are_counted_and_the_last_shown(run: RunFolder) -> None:
    alarms = [{"step": n, "detector": "kl_jump", "policy": "warn", "message": "", "samples": []} for n in range(9)]
    write_lines(dpo(run) / "alarms.jsonl", alarms)
    shown = shown_warnings(BoardReader(run).read())
    assert shown[0] == f"{len(BoardReader(run).read().warnings) - SHOWN_WARNINGS} earlier ones"
    assert len(shown) == 1 + SHOWN_WARNINGS
    assert "step 8" in shown[-1]


def test_a_straggler_is_warned_of_with_its_host(run: RunFolder) -> None:
    say(dpo(run), 0, balance=BALANCE)
    assert any(
        f"rank 1 ({platform.node()}) was slowest in 19 of 20 steps; imbalance 30 %" in warning
        for warning in BoardReader(run).read().warnings
    )


def test_a_stage_that_failed_says_why(run: RunFolder) -> None:
    say(dpo(run), 1, outcome="failed", message="out of memory\nTraceback")
    found = standing(run)
    assert (found.state, found.note) == ("failed", "out of memory")
    assert "out of memory" in drawn(run)


def test_a_stage_whose_processes_are_gone_is_unfinished(run: RunFolder) -> None:
    for rank in (0, 1):
        say(dpo(run), rank, pid=2**22 + 7)  # beyond any pid
    assert standing(run).state == "unfinished"


def test_a_stage_on_another_host_is_running_while_its_files_are_young(run: RunFolder) -> None:
    for rank in (0, 1):
        say(dpo(run), rank, host="node7")
    assert standing(run).state == "running"
    for rank in (0, 1):
        os.utime(dpo(run) / "ranks" / f"{rank}.json", (time.time() - 3600,) * 2)
    assert standing(run).state == "unfinished"


@pytest.mark.parametrize("skew_s", [-7200.0, 7200.0])
def test_silence_is_told_by_our_own_clock_whatever_the_hosts_say(run: RunFolder, skew_s: float) -> None:
    """Rank 0's heartbeat moves on, by a clock two hours off ours; rank 1's stands still."""
    clock = Clock()
    reader = BoardReader(run, clock)
    for _ in range(4):
        say(dpo(run), 0, heartbeat=time.time() + skew_s + clock.now)
        silent = [warning for warning in reader.read().warnings if "silent" in warning]
        clock.now += SILENT_AFTER_S / 2
    assert [warning.partition(" on ")[0] for warning in silent] == ["dpo: rank 1"]


@pytest.mark.parametrize("content", ["", "{", "[]"])
def test_a_state_file_caught_half_written_is_passed_over(run: RunFolder, content: str) -> None:
    (dpo(run) / "ranks" / "1.json").write_text(content)
    assert standing(run).state == "running"


def test_a_run_that_has_not_begun_has_an_empty_board(tmp_path: Path) -> None:
    board = BoardReader(RunFolder(tmp_path)).read()
    assert (board.stages, board.done) == ([], False)


def test_watching_takes_no_lock(run: RunFolder) -> None:
    with RunLock(run.path):
        assert BoardReader(run).read().running
    assert not BoardReader(run).read().running


def test_lines_say_what_is_new_and_progress_only_every_few_seconds(run: RunFolder) -> None:
    clock = Clock()
    reader, lines = BoardReader(run), BoardLines(clock)
    first = list(lines.news(reader.read()))
    assert any(line.startswith("dpo  running  step 19/40  ETA") for line in first)
    assert not any(line.startswith("grpo") for line in first)
    assert list(lines.news(reader.read())) == []
    for rank in (0, 1):
        say(dpo(run), rank, step=25)
    clock.now = 1.0
    assert list(lines.news(reader.read())) == []
    clock.now = 6.0
    assert [line.split("  ")[2] for line in lines.news(reader.read())] == ["step 25/40"]


def test_a_warning_is_one_line_though_its_seconds_grow(run: RunFolder) -> None:
    clock = Clock()
    reader, lines = BoardReader(run, clock), BoardLines(clock)
    told = []
    for _ in range(6):
        told += [line for line in lines.news(reader.read()) if "silent" in line]
        clock.now += SILENT_AFTER_S / 2
    assert len(told) == 2  # one a rank


def test_watch_of_a_finished_run_ends_by_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_fake_run(tmp_path / "run")
    assert main(["status", str(path), "--watch"]) == 0
    shown = capsys.readouterr().out
    assert "evaluate-grpo  done  in_domain" in shown
    assert shown.endswith("quickstart: 9 of 9 stages are done\n")


def test_watch_follows_until_ctrl_c_and_ends_cleanly(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    def later(seconds: float) -> None:
        if later.calls == 2:
            raise KeyboardInterrupt
        later.calls += 1
        for rank in (0, 1):
            say(dpo(run), rank, outcome="preempted")

    later.calls = 0
    assert watch([run], later) == 0
    shown = capsys.readouterr().out
    assert "dpo  running" in shown
    assert "dpo  preempted" in shown
    assert "the run goes on" in shown


def test_watch_of_several_runs_names_each(run: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    done = RunFolder(write_fake_run(tmp_path / "other"))
    assert watch([done, done]) == 0
    assert "quickstart: sft  done" in capsys.readouterr().out


def test_terminal_of_a_run_has_the_board_and_what_is_said_above_it(run: RunFolder) -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    with live_board(run, console) as look:
        print("dpo  12 pairs, batch size 8, 2 rank(s)")
        print("dpo  step 21/40  loss 0.5  431 tokens/s  ETA 90 s")
        print("[bold] is no markup here")
        look()
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "dpo  12 pairs, batch size 8" in shown
    assert "[bold] is no markup here" in shown
    assert "dpo  step 21/40" not in shown
    assert shown.index("12 pairs") < shown.rindex("evaluate-grpo")


def test_without_a_terminal_lines_stay_and_warnings_are_said_again(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    say(dpo(run), 0, balance=BALANCE)
    with live_board(run) as look:
        print("dpo  step 21/40  loss 0.5")
        look()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "dpo  step 21/40  loss 0.5"
    assert any(line.startswith("warning: dpo: rank 1") for line in lines[1:])
    assert not any("running" in line for line in lines)


def test_an_error_inside_the_board_gives_the_terminal_back(run: RunFolder) -> None:
    console = Console(file=io.StringIO(), width=80, force_terminal=True)
    with contextlib.suppress(ZeroDivisionError), live_board(run, console):
        raise ZeroDivisionError
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h")  # type: ignore[attr-defined]  # the cursor is shown


def test_status_tells_the_balance_of_a_stage_that_is_done(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    (sft,) = run.path.glob("??-sft-*")
    record = json.loads((sft / "record.json").read_text())
    record["ledger"]["balance"] = BALANCE
    (sft / "record.json").write_text(json.dumps(record))
    assert main(["status", str(run.path)]) == 0
    assert "rank 1 was slowest in 19 of 20 steps; imbalance 30 %" in capsys.readouterr().out


def test_a_metric_that_was_not_a_number_is_told_and_ends_no_run(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    (sft,) = run.path.glob("??-sft-*")
    record = json.loads((sft / "record.json").read_text())
    record["metrics"] |= {"step": 12, "loss": None}  # NaN, as records have it
    (sft / "record.json").write_text(json.dumps(record))
    assert main(["status", str(run.path)]) == 0
    assert "step 12  loss n/a" in capsys.readouterr().out
    assert standing(run, "sft").note == "step 12  loss n/a"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_board_that_cannot_be_read_is_said_once_and_ends_no_run(
    run: RunFolder, terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.screen.REDRAW_EVERY_S", 0.0)
    (sft,) = run.path.glob("??-sft-*")
    record = json.loads((sft / "record.json").read_text())
    (sft / "record.json").write_text(json.dumps(record | {"metrics": {"loss": "not a number"}}))
    console = Console(file=io.StringIO(), width=200, force_terminal=terminal)
    with live_board(run, console) as look:
        look()
    said = console.file.getvalue() + capsys.readouterr().out  # type: ignore[attr-defined]
    assert said.count("the board cannot be shown (ValueError") == 1
