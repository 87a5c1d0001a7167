"""The rank starter, with small Python programs in place of stages: codes, signals, logs, no orphans."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from launch.rank_environment import rank_environments, stage_command
from launch.ranks import Patience, run_ranks
from launch.ranks_end import RanksEnd, failure_text
from training.config import Runtime
from training.process_birth import process_birth

CHECKPOINTING = """
    import signal, sys, time
    def stop(number, frame):
        print("checkpointed after", signal.Signals(number).name, flush=True)
        sys.exit(75)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, stop)
    print("ready", flush=True)
    time.sleep(60)
"""
"""A rank that behaves as a stage does: it leaves with 75 when told to stop."""


def run_program(
    tmp_path: Path, program: str, processes: int = 2, **options: float
) -> tuple[RanksEnd, list[str], float]:
    """Run `program` on ranks and return how they ended, their logs and how long it took."""
    environments = rank_environments(Runtime(processes=processes), offline=False)
    command = [sys.executable, "-c", textwrap.dedent(program)]
    started = time.monotonic()
    end = run_ranks(
        command, environments, lambda rank: tmp_path / f"rank{rank}.log", patience=replace(Patience(), **options)
    )
    logs = [(tmp_path / f"rank{rank}.log").read_text() for rank in range(processes)]
    return end, logs, time.monotonic() - started


def send_when_ready(tmp_path: Path, number: signal.Signals, times: int = 1, processes: int = 2) -> threading.Thread:
    """Signal this process, as a user or Slurm would, once every rank has printed "ready"."""

    def watch() -> None:
        logs = [tmp_path / f"rank{rank}.log" for rank in range(processes)]
        while not all(log.exists() and "ready" in log.read_text() for log in logs):
            time.sleep(0.02)
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0.5)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_ranks_all_succeed_returns_zero_with_a_world_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = """
        import os
        print(*(os.environ[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR")))
    """
    end, logs, _ = run_program(tmp_path, program)
    assert (end.code, end.failed) == (0, None)
    assert logs == ["0 0 2 127.0.0.1\n", "1 1 2 127.0.0.1\n"]
    assert capfd.readouterr().out == "0 0 2 127.0.0.1\n"


def test_ranks_one_fails_ends_the_others_and_shows_its_log(tmp_path: Path) -> None:
    program = """
        import os, sys, time
        if os.environ["RANK"] == "1":
            print("no such file: weights"); sys.exit(1)
        time.sleep(60)
    """
    end, _, seconds = run_program(tmp_path, program, settle_s=0.2)
    assert (end.code, end.failed.number) == (1, 1)
    assert seconds < 20
    text = failure_text(end, "sft")
    assert "rank 1 failed with exit code 1" in text
    assert "no such file: weights" in text


def test_ranks_deaf_to_term_are_killed_after_the_grace(tmp_path: Path) -> None:
    program = """
        import os, signal, sys, time
        if os.environ["RANK"] == "0":
            sys.exit(1)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        time.sleep(60)
    """
    end, _, seconds = run_program(tmp_path, program, settle_s=0.2, grace_s=0.5)
    assert end.code == 1
    assert seconds < 20


@pytest.mark.parametrize(("codes", "whole"), [((1, 2), 2), ((2, 1), 2), ((4, 1), 4), ((1, 1), 1), ((75, 75), 75)])
def test_ranks_exit_codes_become_one(tmp_path: Path, codes: tuple[int, ...], whole: int) -> None:
    program = f"""
        import os, sys
        sys.exit({codes}[int(os.environ["RANK"])])
    """
    assert run_program(tmp_path, program)[0].code == whole


def test_ranks_killed_rank_names_the_signal(tmp_path: Path) -> None:
    program = """
        import os, signal
        if os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
    """
    end, _, _ = run_program(tmp_path, program)
    assert end.code == 1
    assert "killed by SIGKILL" in failure_text(end, "sft")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_ranks_signalled_runner_lets_them_checkpoint_and_returns_75(tmp_path: Path, number: signal.Signals) -> None:
    thread = send_when_ready(tmp_path, number)
    end, logs, seconds = run_program(tmp_path, CHECKPOINTING)
    thread.join()
    assert end.code == 75
    assert all(f"checkpointed after {number.name}" in log for log in logs)
    assert seconds < 20


def test_ranks_ctrl_c_lets_them_checkpoint_and_returns_130(tmp_path: Path) -> None:
    thread = send_when_ready(tmp_path, signal.SIGINT)
    end, logs, _ = run_program(tmp_path, CHECKPOINTING)
    thread.join()
    assert end.code == 130
    assert all("checkpointed after SIGTERM" in log for log in logs)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_ranks_ended_by_the_signal_itself_are_preempted_not_failed(tmp_path: Path, number: signal.Signals) -> None:
    """It came while they were starting: they had no handler yet, and nothing to save."""
    program = """
        import time
        print("ready", flush=True)
        time.sleep(60)
    """
    thread = send_when_ready(tmp_path, number)
    end, _, _ = run_program(tmp_path, program)
    thread.join()
    assert end.code == 75


def test_ranks_term_after_they_finished_still_stops_the_run(tmp_path: Path) -> None:
    program = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
        print("ready", flush=True)
        time.sleep(60)
    """
    thread = send_when_ready(tmp_path, signal.SIGTERM)
    end, _, _ = run_program(tmp_path, program)
    thread.join()
    assert end.code == 75


def test_ranks_second_interrupt_kills(tmp_path: Path) -> None:
    program = """
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(60)
    """
    thread = send_when_ready(tmp_path, signal.SIGINT, times=2)
    end, _, seconds = run_program(tmp_path, program)
    thread.join()
    assert end.code == 130
    assert seconds < 20


def test_ranks_children_of_a_rank_do_not_outlive_it(tmp_path: Path) -> None:
    program = """
        import subprocess, sys
        worker = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
        print(worker.pid, flush=True)
        sys.exit(0)
    """
    _, logs, _ = run_program(tmp_path, program, processes=1)
    assert gone(int(logs[0]))


def gone(pid: int) -> bool:
    """Whether a process ends within ten seconds."""
    deadline = time.monotonic() + 10
    while process_birth(pid) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_ranks_of_a_killed_runner_end(tmp_path: Path) -> None:
    program = f"""
        import sys
        from pathlib import Path
        from launch.ranks import run_ranks
        from launch.rank_environment import rank_environments
        from training.config import Runtime
        rank = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
        environments = rank_environments(Runtime(processes=2), offline=False)
        run_ranks([sys.executable, "-c", rank], environments, lambda n: Path({str(tmp_path)!r}) / f"rank{{n}}.log")
    """
    runner = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)])
    logs = [tmp_path / "rank0.log", tmp_path / "rank1.log"]
    deadline = time.monotonic() + 30
    while not all(log.exists() and log.read_text().strip() for log in logs) and time.monotonic() < deadline:
        time.sleep(0.05)
    runner.kill()
    runner.wait()
    assert all(gone(int(log.read_text())) for log in logs)


def test_ranks_second_attempt_appends_to_the_log_and_shows_only_the_new(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run_program(tmp_path, "print('first')", processes=1)
    capfd.readouterr()
    _, logs, _ = run_program(tmp_path, "print('second')", processes=1)
    assert logs == ["first\nsecond\n"]
    assert capfd.readouterr().out == "second\n"


def test_rank_environment_single_plain_rank_has_no_world() -> None:
    outer = {"RANK": "3", "WORLD_SIZE": "8", "MASTER_PORT": "1", "HOME": "/home/me"}
    (environment,) = rank_environments(Runtime(), offline=False, outer=outer)
    assert not {"RANK", "WORLD_SIZE", "MASTER_PORT"} & environment.keys()
    assert environment["HOME"] == "/home/me"
    assert environment["HF_HUB_DISABLE_TELEMETRY"] == "1"


def test_rank_environment_one_deepspeed_rank_has_a_world_of_one() -> None:
    (environment,) = rank_environments(Runtime(zero_stage=2), offline=True, outer={})
    assert (environment["RANK"], environment["WORLD_SIZE"]) == ("0", "1")
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_rank_environment_keeps_freed_memory_on_a_cpu_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("launch.rank_environment.has_accelerator", lambda: False)
    (ours,) = rank_environments(Runtime(processes=1), False, {})
    assert (ours["MALLOC_MMAP_MAX_"], ours["MALLOC_ARENA_MAX"]) == ("0", "1")
    (theirs,) = rank_environments(Runtime(processes=1), False, {"MALLOC_ARENA_MAX": "4"})
    assert (theirs["MALLOC_MMAP_MAX_"], theirs["MALLOC_ARENA_MAX"]) == ("0", "4")
    monkeypatch.setattr("launch.rank_environment.has_accelerator", lambda: True)
    (gpu,) = rank_environments(Runtime(processes=1), False, {})
    assert "MALLOC_MMAP_MAX_" not in gpu


def test_rank_environment_data_folder_of_the_user_hides_nothing(tmp_path: Path) -> None:
    """`data/` is a common folder name; a stage started there must import our package."""
    (tmp_path / "data").mkdir()
    (environment,) = rank_environments(Runtime(), offline=False)
    code = "import data.errors; print(data.errors.__file__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert Path(done.stdout.strip()) == Path(__file__).resolve().parent.parent / "data" / "errors.py"


def test_stage_command_carries_overrides_and_debug() -> None:
    command = stage_command(Path("c.yaml"), ["--stage", "sft"], ["seed=3"], Path("runs/c"), debug=True)
    assert command[1:] == [
        "-m",
        "training.run_stage",
        "c.yaml",
        "--stage",
        "sft",
        "--run-dir",
        "runs/c",
        "--set",
        "seed=3",
        "--debug",
    ]
