"""A forked rank is the process that was asked for, and lives and ends as one that was started."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from launch.fork_server import VARIABLE, through_fork_server
from tests.test_cluster_configs import ROOT

SERVER = """
import sys
from launch import fork_server_process
fork_server_process.preload = lambda: None
sys.exit(fork_server_process.main(sys.argv[1:]))
"""
"""Without the imports, which take seconds."""
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[bytes]"]:
    """A server without imports; `args[-2]` is its socket."""
    path = tmp_path_factory.mktemp("s") / "socket"
    process = subprocess.Popen([sys.executable, "-c", SERVER, str(path), str(os.getpid())], env=ENVIRONMENT)
    wait_until(path.exists)
    yield process
    process.kill()
    process.wait()


def wait_until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    """Poll a callable; an assertion after so long."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def start(server: "subprocess.Popen[bytes]", folder: Path, *arguments: str) -> "subprocess.Popen[str]":
    """Start a rank that the server forks."""
    return subprocess.Popen(
        [sys.executable, "-m", "launch.forked_rank", "tests.fork_target", *arguments],
        env={**ENVIRONMENT, VARIABLE: server.args[-2], "NAME": "rank"},  # type: ignore[index]
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def facts(rank: "subprocess.Popen[str]") -> dict[str, object]:
    """The line that the target prints."""
    assert rank.stdout is not None
    return json.loads(rank.stdout.readline())


def lives(pid: object) -> bool:
    """Whether a process is there and no zombie."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_forked_rank_has_the_arguments_environment_folder_and_exit_code(
    server: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    rank = start(server, tmp_path, "one", "two words")
    told = facts(rank)
    assert rank.wait(60) == 7
    assert (told["arguments"], told["name"], told["folder"]) == (["one", "two words"], "rank", str(tmp_path))
    assert told["pid"] != rank.pid


def test_forked_rank_waits_for_its_threads_and_calls_its_exit_functions(
    server: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    rank = start(server, tmp_path, "late")
    told, _ = rank.communicate(timeout=60)
    assert (rank.returncode, told) == (1, "thread\nexit function\n")


def test_forked_rank_hears_signals_and_a_second_one_runs_beside_it(
    server: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    first, second = start(server, tmp_path, "wait"), start(server, tmp_path, "wait")
    facts(first), facts(second)
    first.send_signal(signal.SIGUSR1)
    assert first.wait(60) == 75
    assert second.poll() is None
    second.send_signal(signal.SIGTERM)  # the target has no handler: its default action
    assert second.wait(60) == -signal.SIGTERM


def test_forked_rank_that_is_killed_is_seen_so_and_one_that_is_left_is_killed(
    server: "subprocess.Popen[bytes]", tmp_path: Path
) -> None:
    killed, left, orphan = (start(server, tmp_path, "wait") for _ in range(3))
    os.kill(int(str(facts(killed)["pid"])), signal.SIGKILL)
    assert killed.wait(60) == -signal.SIGKILL
    pid = facts(left)["pid"]
    left.kill()
    left.wait()
    wait_until(lambda: not lives(pid))
    pid = facts(orphan)["pid"]
    server.kill()
    assert orphan.wait(60) == 1
    wait_until(lambda: not lives(pid))


def test_only_ranks_are_forked_and_only_where_there_is_a_server() -> None:
    rank = ["python", "-m", "training.run_stage", "a.yaml"]
    assert through_fork_server(rank, {}) == rank
    assert through_fork_server(rank, {VARIABLE: "x"}) == [
        "python",
        "-m",
        "launch.forked_rank",
        "training.run_stage",
        "a.yaml",
    ]
    assert through_fork_server(["python", "-m", "launch", "run"], {VARIABLE: "x"}) == ["python", "-m", "launch", "run"]
