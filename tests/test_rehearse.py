"""The rehearsal's stage hands: interruptions, Slurm's stand-ins, folders and the table; and real rehearsals."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from data.errors import UserError
from launch import rehearse_acts
from launch.cli import main
from launch.fork_server import ForkServer
from launch.lock import RunLock
from launch.rehearse import STAND_INS_DIR, child_environment, new_folder
from launch.rehearse_acts import Act, Interruption, Saboteur, wait_for
from launch.rehearse_slurm import JobQueue, install
from launch.rehearse_table import rehearsal_text
from tests.fake_artifacts import finish
from tests.test_cluster_configs import PIPELINES, ROOT
from tests.test_plan import plan
from training.rehearsal_overrides import Replacement


def say_state(folder: Path, rank: int, pid: int, phase: str) -> None:
    """Leave a rank's state file."""
    path = folder / "ranks" / f"{rank}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"pid": pid, "phase": phase, "outcome": None}))


@pytest.fixture
def sleeper() -> "subprocess.Popen[bytes]":
    """A process to be signalled."""
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_saboteur_usr1_comes_once_every_rank_trains(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    run_plan = plan(tmp_path)
    saboteur = Saboteur(run_plan, 2, ["USR1", "KILL"])
    folder = run_plan["sft"].folder
    saboteur.look(sleeper.pid)
    say_state(folder, 0, 1, "train")
    saboteur.look(sleeper.pid)
    say_state(folder, 1, 1, "starting")
    saboteur.look(sleeper.pid)
    assert saboteur.struck is None
    say_state(folder, 1, 1, "train")
    saboteur.look(sleeper.pid)
    assert sleeper.wait(10) == -signal.SIGUSR1
    assert saboteur.outcome(75) == Interruption("sft", "USR1", None)
    assert saboteur.hows == ["KILL"]


def test_saboteur_kill_takes_rank_0_after_its_first_checkpoint(
    tmp_path: Path, sleeper: "subprocess.Popen[bytes]"
) -> None:
    run_plan = plan(tmp_path)
    saboteur = Saboteur(run_plan, 1, ["KILL"])
    checkpoint = run_plan["sft"].folder / "checkpoints" / "checkpoint-1"
    checkpoint.mkdir(parents=True)
    say_state(run_plan["sft"].folder, 0, sleeper.pid, "train")
    saboteur.look(os.getpid())
    assert saboteur.struck is None
    (checkpoint / "manifest.json").write_text("{}")
    saboteur.look(os.getpid())
    assert sleeper.wait(10) == -signal.SIGKILL
    assert saboteur.outcome(1) == Interruption("sft", "KILL", "checkpoint-1")


def test_saboteur_that_came_too_late_tries_the_next_stage(tmp_path: Path, sleeper: "subprocess.Popen[bytes]") -> None:
    run_plan = plan(tmp_path)
    saboteur = Saboteur(run_plan, 1, ["USR1"])
    saboteur.struck = run_plan["sft"]
    finish(run_plan, run_plan["sft"])
    assert saboteur.outcome(0) is None
    say_state(run_plan["dpo"].folder, 0, 1, "train")
    saboteur.look(sleeper.pid)
    assert saboteur.struck is not None
    assert saboteur.struck.name == "dpo"
    assert saboteur.outcome(1) is None  # exit code 1 is a failure of the stage's own: USR1 gives 75


@pytest.mark.parametrize(("trap", "code"), [("", -signal.SIGTERM), ("trap '' TERM; ", -signal.SIGKILL)])
def test_a_runner_that_hangs_is_killed_once_it_was_told_to_end(
    trap: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rehearse_acts, "END_WITHIN_S", 0.3 if trap else 30.0)

    class CtrlC(Saboteur):
        def __init__(self) -> None: ...

        def look(self, runner: int) -> None:
            raise KeyboardInterrupt

    command = ["/bin/sh", "-c", f"{trap}echo ready; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with pytest.raises(KeyboardInterrupt):
            wait_for(process, CtrlC())
        assert process.poll() == code


def test_rehearsal_folder_is_new_and_anything_else_refused(tmp_path: Path) -> None:
    folder = new_folder(tmp_path / "x-rehearsal")
    (folder / "old").write_text("")
    assert not (new_folder(folder) / "old").exists()
    with RunLock(folder / STAND_INS_DIR), pytest.raises(UserError, match="is in use"):
        new_folder(folder)
    foreign = tmp_path / "runs"
    foreign.mkdir()
    with pytest.raises(UserError, match="is no rehearsal"):
        new_folder(foreign)


SCRIPT = """\
#!/bin/bash
#SBATCH --job-name=demo.sft
#SBATCH --output={folder}/slurm-%j.out
#SBATCH --nodes=2
#SBATCH --cpus-per-task=8
srun --nodes=2 --ntasks=2 sh -c 'echo "node $SLURM_NODEID $1"; exit $SLURM_NODEID' sh --stage
"""


def slurm(programs: Path, *command: str) -> "subprocess.CompletedProcess[str]":
    """Call one of the stand-in's commands as a script would."""
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    return subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False)


def test_slurm_stand_ins_answer_what_submit_and_scripts_ask(tmp_path: Path) -> None:
    programs = install(tmp_path / "slurm")
    queue = JobQueue(tmp_path / "slurm")
    (queue.folder / "partitions.json").write_text('["gpu", "cpu"]')
    script = tmp_path / "demo.sbatch"
    script.write_text(SCRIPT.format(folder=tmp_path))
    assert slurm(programs, "sbatch", "--parsable", str(script)).stdout == "1\n"
    after = ["--dependency=afterok:1", "--kill-on-invalid-dep=yes"]
    assert slurm(programs, "sbatch", "--parsable", *after, str(script)).stdout == "2\n"
    first = queue.job("1")
    assert (first.name, first.nodes, first.cpus, first.output) == ("demo.sft", 2, 8, f"{tmp_path}/slurm-1.out")
    assert queue.next() == first
    queue.save(dataclasses.replace(first, state="RUNNING"))
    assert queue.next() is None
    state = slurm(programs, "squeue", "--noheader", "--jobs=1", "--format=%T")
    assert state.stdout == "RUNNING\n"
    assert slurm(programs, "scontrol", "requeue", "1").returncode == 0
    assert queue.job("1").state == "REQUEUED"
    assert slurm(programs, "scontrol", "show", "hostnames", "a,b").stdout == "a\nb\n"
    assert slurm(programs, "scontrol", "reboot").returncode == 1
    assert slurm(programs, "sinfo").stdout.splitlines()[0].startswith("gpu*|up|")
    ran = slurm(programs, "bash", first.script)
    assert sorted(ran.stdout.split("\n")[:2]) == ["node 0 --stage", "node 1 --stage"]
    assert ran.returncode == 1


@pytest.mark.parametrize(("state", "then"), [("COMPLETED", "2"), ("FAILED", None), ("RUNNING", None)])
def test_slurm_stand_in_heeds_dependencies(tmp_path: Path, state: str, then: str | None) -> None:
    queue = JobQueue(tmp_path / "slurm")
    programs = install(tmp_path / "slurm")
    script = tmp_path / "demo.sbatch"
    script.write_text(SCRIPT.format(folder=tmp_path))
    slurm(programs, "sbatch", str(script))
    slurm(programs, "sbatch", "--dependency=afterok:1", str(script))
    queue.save(dataclasses.replace(queue.job("1"), state=state))
    following = queue.next()
    assert (following.id if following else None) == then
    assert queue.job("2").state == ("CANCELLED" if state == "FAILED" else "PENDING")


def test_rehearsal_table_says_what_stood_in_and_what_was_not_shown(tmp_path: Path) -> None:
    run_plan = plan(tmp_path)
    finish(run_plan, run_plan["base"], ledger={"wall_s": 0.25})
    finish(run_plan, run_plan["sft"], ledger={"wall_s": 12.34})
    run_plan["dpo"].folder.mkdir(parents=True)
    replaced = [
        Replacement("sft", "a=1", "bf16: float32"),
        Replacement("sft", "b=1"),
        Replacement("sft", "c=1", "not rehearsed: the content of hub data x"),
        Replacement("runtime", "", "64 ranks: 2"),
    ]
    acts = [Act(75, 1.0, Interruption("sft", "USR1", "checkpoint-1")), Act(1, 1.0, None)]
    lines = rehearsal_text(run_plan, replaced, acts, 100.0).splitlines()
    rows = {line.split()[0]: line for line in lines if line}
    assert "ok" in rows["sft"]
    assert "12.3" in rows["sft"]
    assert "USR1, resumed from checkpoint-1" in rows["sft"]
    assert rows["sft"].endswith("bf16: float32")
    assert "FAILED" in rows["dpo"]
    assert "not reached" in rows["grpo"]
    assert "- the content of hub data x" in lines
    assert "- 64 ranks: 2" in lines
    assert lines[-1].startswith("Rehearsal FAILED with exit code 1")
    assert not any("a resume" in line for line in lines)
    never = [Act(0, 1.0, Interruption("sft", "USR1", None)), Act(0, 1.0, None)]
    assert "- a resume: no training stage" in rehearsal_text(run_plan, replaced, never, 1.0)


def test_rehearsal_of_a_config_with_a_mistake_exits_2_before_it_makes_anything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["rehearse", str(ROOT / "configs" / "tiny.yaml"), "stages.sft.trainer.max_step=3"]) == 2
    assert "max_steps" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


UNDER_WAY = """
import json, signal, sys, time
from pathlib import Path
from launch import rehearse
from launch.cli import main

def under_way(request, pipeline, folder, started, environment):
    Path(environment["TMPDIR"], "left by a killed rank").touch()
    print(json.dumps([environment["TMPDIR"], environment["POSTTRAIN_FORK_SERVER"]]), flush=True)
    time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs, tests among them, ignore it
rehearse._rehearse = under_way
sys.exit(main(["rehearse", sys.argv[1], f"runtime.runs_dir={sys.argv[2]}"]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_rehearsal_ended_by_a_signal_leaves_no_temporary_folders(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, "-c", UNDER_WAY, str(ROOT / "configs" / "tiny.yaml"), str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if name != "POSTTRAIN_FORK_SERVER"}
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        scratch, socket = map(Path, json.loads(process.stdout.readline()))
        assert scratch.is_dir()
        assert socket.is_socket()
        process.send_signal(number)
        process.send_signal(number)  # an impatient user
        assert process.wait(60) == code
    assert not scratch.exists()
    assert not socket.parent.exists()


@pytest.fixture(scope="module")
def shared_server() -> Iterator[dict[str, str]]:
    """The environment that leads to one fork server for all the slow rehearsals."""
    with ForkServer(child_environment()) as server:
        yield server.address


def rehearse(config: str, runs_dir: Path, *overrides: str, server: Mapping[str, str] | None = None) -> str:
    """Rehearse a shipped config as a user would; returns what it printed last."""
    command = [sys.executable, "-m", "launch", "rehearse", config, *overrides, f"runtime.runs_dir={runs_dir}"]
    started = time.monotonic()
    environment = {**os.environ, **(server or {})}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(f"{config}: {time.monotonic() - started:.0f} s")
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout[done.stdout.rindex("\nstage ") :]


@pytest.mark.timeout(1800)
def test_rehearsal_of_the_tiny_config_is_killed_twice_and_passes(tmp_path: Path) -> None:
    """Without its evaluations, which the end-to-end test runs."""
    shown = rehearse("configs/tiny.yaml", tmp_path, "evaluate=null")
    assert "USR1, resumed from checkpoint-" in shown
    assert "KILL, resumed from checkpoint-" in shown
    assert "Rehearsal passed" in shown


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("config", PIPELINES)
def test_rehearsal_of_every_shipped_config_passes(config: str, tmp_path: Path, shared_server: dict[str, str]) -> None:
    shown = rehearse(config, tmp_path, server=shared_server)
    assert "resumed from checkpoint-" in shown
    assert "Rehearsal passed" in shown
