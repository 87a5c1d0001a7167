"""Ranks over two nodes: a stand-in for srun starts both node starters on this machine, with programs as stages.

The real srun is tested on a two-node Slurm (`-m slurm`).
"""

import os
import signal
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from data.errors import UserError
from launch.nodes import cores_per_node, end_path, run_on_nodes, srun_command
from launch.ranks_end import RanksEnd, failure_text
from launch.rendezvous import Rendezvous, free_port, local_rendezvous, slurm_rendezvous
from training.config import Runtime

TWO_NODES = Runtime(processes=4, nodes=2)
JOB = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_JOB_CPUS_PER_NODE": "8(x2)"}

SRUN = f"""#!{sys.executable}
import os, signal, subprocess, sys
options = [word for word in sys.argv[1:] if word.startswith("--")]
command = sys.argv[1 + len(options):]
count = int(next(word for word in options if word.startswith("--ntasks=")).split("=")[1])
tasks = [subprocess.Popen(command, env=dict(os.environ, SLURM_NODEID=str(node))) for node in range(count)]
for number in (signal.SIGUSR1, signal.SIGTERM):
    signal.signal(number, lambda number, frame: [task.send_signal(number) for task in tasks])
sys.exit(max(task.wait() for task in tasks))
"""
SCONTROL = """#!/bin/sh
case "$2" in
    hostnames) printf 'n1\\nn2\\n' ;;
    node) echo "NodeName=$3 Arch=x86_64 NodeAddr=10.1.2.3 NodeHostName=$3 Port=6818" ;;
esac
"""
NODE = """
import sys
from pathlib import Path
from launch.node import StageRanks, run_this_node
from training.config import Runtime
from training.plan import PlannedStage
folder = Path(sys.argv[1])
stage = PlannedStage(1, "sft", "sft", None, {}, "ab" * 32, [], folder / "01-sft-abababab", "new", "new: it is new")
command, runtime = [sys.executable, "-c", sys.argv[2]], Runtime(processes=4, nodes=2)
sys.exit(run_this_node(StageRanks(command, runtime, True, folder, stage)))
"""


@pytest.fixture(autouse=True)
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job of two nodes with stand-ins for Slurm's commands."""
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    for name in ("SLURM_STEP_ID", *JOB):
        monkeypatch.delenv(name, raising=False)
    for name, value in JOB.items():
        monkeypatch.setenv(name, value)


def run_program(folder: Path, program: str) -> RanksEnd:
    """Run `program` on every rank of both nodes."""
    command = [sys.executable, "-c", NODE, str(folder), textwrap.dedent(program)]
    return run_on_nodes(command, TWO_NODES, Rendezvous("127.0.0.1", free_port()), folder / "logs", "sft-abababab")


def logs(folder: Path) -> list[str]:
    return [(folder / "logs" / f"sft-abababab.rank{rank}.log").read_text() for rank in range(4)]


def signal_when_ready(folder: Path, *numbers: signal.Signals) -> threading.Thread:
    """Signal this process once every rank has printed "ready"."""

    def watch() -> None:
        paths = [folder / "logs" / f"sft-abababab.rank{rank}.log" for rank in range(4)]
        while not all(path.exists() and "ready" in path.read_text() for path in paths):
            time.sleep(0.02)
        for number in numbers:
            os.kill(os.getpid(), number)
            time.sleep(1.5)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    return thread


def test_nodes_ranks_get_their_place_in_one_world(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    program = """
        import os
        print(*(os.environ[name] for name in ("RANK", "LOCAL_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))
    """
    end = run_program(tmp_path, program)
    assert (end.code, end.failed, end.codes) == (0, None, {0: 0, 1: 0, 2: 0, 3: 0})
    assert logs(tmp_path) == ["0 0 0 4 2\n", "1 1 0 4 2\n", "2 0 1 4 2\n", "3 1 1 4 2\n"]
    shown = capfd.readouterr().out
    assert shown.startswith("sft  4 ranks on 2 nodes meet at 127.0.0.1:")
    assert shown.endswith("\n0 0 0 4 2\n")


def test_nodes_failure_on_one_ends_the_other_and_names_the_rank(tmp_path: Path) -> None:
    """The ranks that were ended by a TERM do not turn the 2, which the user can fix, into a 1."""
    program = """
        import os, sys, time
        if os.environ["RANK"] == "3":
            print("no such file: weights"); sys.exit(2)
        time.sleep(60)
    """
    end = run_program(tmp_path, program)
    assert (end.code, end.failed.number) == (2, 3)
    assert end.codes[0] == -signal.SIGTERM
    text = failure_text(end, "sft")
    assert "rank 3 failed with exit code 2" in text
    assert "no such file: weights" in text


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_nodes_signalled_runner_lets_all_ranks_checkpoint(tmp_path: Path, number: signal.Signals) -> None:
    """srun ends its tasks on TERM, so every first signal goes through it as USR1."""
    program = """
        import signal, sys, time
        def stop(number, frame):
            print("checkpointed after", signal.Signals(number).name, flush=True)
            sys.exit(75)
        signal.signal(signal.SIGUSR1, stop)
        print("ready", flush=True)
        time.sleep(60)
    """
    thread = signal_when_ready(tmp_path, number)
    end = run_program(tmp_path, program)
    thread.join()
    assert end.code == (130 if number == signal.SIGINT else 75)
    assert all("checkpointed after SIGUSR1" in log for log in logs(tmp_path))


def test_nodes_one_rank_preempted_alone_stops_the_other_node_too(tmp_path: Path) -> None:
    """A rank that was signalled directly left with 75; those of the other node are told, and the whole is 75."""
    program = """
        import os, signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))
        time.sleep(0.2 if os.environ["RANK"] in "01" else 60)
        sys.exit(75)
    """
    end = run_program(tmp_path, program)
    assert (end.code, set(end.codes.values())) == (75, {75})


def test_nodes_second_signal_ends_deaf_ranks(tmp_path: Path) -> None:
    program = """
        import signal, time
        for number in (signal.SIGUSR1, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        print("ready", flush=True)
        time.sleep(120)
    """
    thread = signal_when_ready(tmp_path, signal.SIGUSR1, signal.SIGUSR1)
    started = time.monotonic()
    end = run_program(tmp_path, program)
    thread.join()
    assert set(end.codes.values()) == {-signal.SIGKILL}
    assert time.monotonic() - started < 40


def test_nodes_step_that_never_starts_shows_what_srun_says(tmp_path: Path) -> None:
    (tmp_path / "bin" / "srun").write_text("#!/bin/sh\necho 'srun: error: Unable to create step' >&2\nexit 1\n")
    end = run_program(tmp_path, "pass")
    assert end.code == 1
    assert "srun: error: Unable to create step" in failure_text(end, "sft")


def test_nodes_end_of_an_earlier_attempt_is_not_taken_for_this_one(tmp_path: Path) -> None:
    stale = end_path(tmp_path / "logs", "sft-abababab", 1)
    stale.parent.mkdir()
    stale.write_text("{}")
    assert run_program(tmp_path, "pass").code == 0


def test_rendezvous_is_slurm_s_address_of_the_first_node() -> None:
    assert slurm_rendezvous(TWO_NODES).address == "10.1.2.3"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"SLURM_JOB_NODELIST": None}, "this is no Slurm job"),
        ({"SLURM_JOB_NUM_NODES": "1"}, "the Slurm job has 1"),
        ({"SLURM_STEP_ID": "0"}, "without srun"),
    ],
)
def test_rendezvous_outside_a_job_of_that_size_is_refused(change: dict[str, str | None], message: str) -> None:
    outer = {name: value for name, value in {**JOB, **change}.items() if value is not None}
    with pytest.raises(UserError, match=message):
        slurm_rendezvous(TWO_NODES, outer)


def test_rendezvous_taken_port_is_refused() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UserError, match=f"runtime.master_port = {port}: the port is taken"):
            local_rendezvous(Runtime(processes=2, master_port=port))


def test_srun_takes_every_core_of_the_smallest_node() -> None:
    assert cores_per_node("16(x2),8") == 8
    assert "--cpus-per-task=8" in srun_command(TWO_NODES)
    assert not any("cpus" in word for word in srun_command(TWO_NODES, {}))
