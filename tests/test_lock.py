"""The run lock: one owner at a time, named when it refuses, taken over when its process is dead."""

import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import launch.lock
from data.errors import UserError
from launch.lock import LOCK_NAME, RunLock, read_owner
from training.process_birth import process_birth

HOLDER = """
import sys, time
from pathlib import Path
from launch.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""
HOLDER_WITH_RANK = """
import subprocess, sys, time
from pathlib import Path
from launch.lock import RunLock
with RunLock(Path(sys.argv[1])) as lock:
    rank = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], pass_fds=[lock.fileno])
    print(rank.pid, flush=True)
    time.sleep(60)
"""


def start_holder(run_dir: Path, program: str = HOLDER) -> tuple[subprocess.Popen[str], str]:
    """Start a process that holds the lock of `run_dir`; returns it and the line it printed."""
    process = subprocess.Popen([sys.executable, "-c", program, str(run_dir)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def test_lock_second_process_is_refused_with_pid_and_host(tmp_path: Path) -> None:
    holder, _ = start_holder(tmp_path)
    try:
        with pytest.raises(UserError) as refusal, RunLock(tmp_path):
            pass
    finally:
        holder.kill()
        holder.wait()
    assert str(holder.pid) in str(refusal.value)
    assert platform.node() in str(refusal.value)


def test_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    holder, _ = start_holder(tmp_path)
    holder.kill()
    holder.wait()
    assert f'"pid": {holder.pid}' in (tmp_path / LOCK_NAME).read_text()
    with RunLock(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / LOCK_NAME).read_text()


def test_lock_of_a_killed_runner_is_kept_by_its_ranks(tmp_path: Path) -> None:
    holder, rank = start_holder(tmp_path, HOLDER_WITH_RANK)
    holder.kill()
    holder.wait()
    with pytest.raises(UserError, match="ranks of process"), RunLock(tmp_path):
        pass
    os.kill(int(rank), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process_birth(int(rank)) is not None and time.monotonic() < deadline:
        time.sleep(0.05)
    with RunLock(tmp_path):
        pass


def test_lock_released_can_be_taken_again(tmp_path: Path) -> None:
    with RunLock(tmp_path):
        pass
    assert read_owner(tmp_path / LOCK_NAME) is None
    with RunLock(tmp_path):
        pass


def test_lock_of_a_reused_pid_is_taken_over(tmp_path: Path) -> None:
    """The pid lives, but as another process than the one that wrote the lock."""
    owner = {"pid": os.getpid(), "host": platform.node(), "born": "1", "started_at": "2026-01-01"}
    (tmp_path / LOCK_NAME).write_text(json.dumps(owner))
    with RunLock(tmp_path):
        pass


@pytest.mark.parametrize(("age_s", "refused"), [(30, True), (3600, False)])
def test_lock_of_another_host_counts_while_it_is_touched(tmp_path: Path, age_s: float, refused: bool) -> None:
    path = tmp_path / LOCK_NAME
    path.write_text(json.dumps({"pid": 1, "host": "elsewhere", "born": "1", "started_at": "2026-01-01"}))
    os.utime(path, (time.time() - age_s, time.time() - age_s))
    if refused:
        with pytest.raises(UserError, match="elsewhere"), RunLock(tmp_path):
            pass
    else:
        with RunLock(tmp_path):
            pass


HOLDER_OF_A_STAGE = HOLDER.replace("RunLock(Path(sys.argv[1]))", 'RunLock(Path(sys.argv[1]), "sft")')


def test_locks_of_two_stages_are_held_at_once_and_exclude_the_whole_run(tmp_path: Path) -> None:
    holder, _ = start_holder(tmp_path, HOLDER_OF_A_STAGE)
    try:
        with RunLock(tmp_path, "evaluate-base"):
            pass
        for refused in (RunLock(tmp_path), RunLock(tmp_path, "sft")):
            with pytest.raises(UserError, match=str(holder.pid)), refused:
                pass
    finally:
        holder.kill()
        holder.wait()
    with RunLock(tmp_path):
        pass


def test_lock_of_the_whole_run_excludes_every_stage(tmp_path: Path) -> None:
    holder, _ = start_holder(tmp_path)
    try:
        with pytest.raises(UserError, match=str(holder.pid)), RunLock(tmp_path, "sft"):
            pass
    finally:
        holder.kill()
        holder.wait()
    with RunLock(tmp_path, "sft"):
        assert read_owner(tmp_path / "locks" / "sft.json") is not None


def test_lock_waits_for_its_owner_to_end(tmp_path: Path) -> None:
    short = HOLDER_OF_A_STAGE.replace("time.sleep(60)", "time.sleep(1)")
    holder, _ = start_holder(tmp_path, short)
    with RunLock(tmp_path, "sft", wait_s=30):
        assert holder.wait(10) == 0


@pytest.mark.parametrize(("restart", "refused"), [("0", True), ("1", False)])
def test_lock_of_a_job_that_slurm_restarted_elsewhere_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restart: str, refused: bool
) -> None:
    """The file was touched just now on another host, but by the same job before its restart."""
    owner = {"pid": 1, "host": "elsewhere", "born": "1", "slurm_job": "7", "slurm_restart": "0"}
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "sft.json").write_text(json.dumps(owner))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURM_RESTART_COUNT", restart)
    if refused:
        with pytest.raises(UserError, match="Slurm job 7"), RunLock(tmp_path, "sft"):
            pass
    else:
        with RunLock(tmp_path, "sft"):
            pass


def test_lock_is_touched_again_once_a_lost_file_system_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    utime, seen = os.utime, []

    def away_at_first(path: Path) -> None:
        seen.append(path)
        if len(seen) == 1:
            raise OSError(116, "Stale file handle")
        utime(path)

    monkeypatch.setattr(launch.lock, "TOUCH_EVERY_S", 0.01)
    monkeypatch.setattr(os, "utime", away_at_first)
    with RunLock(tmp_path):
        path = tmp_path / LOCK_NAME
        utime(path, (1.0, 1.0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 1.0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert path.stat().st_mtime > 1.0
