"""What a rank makes of TERM and USR1, in processes of their own: noted once, left at once the second time."""

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline
from training.checkpoint import committed
from training.rank_state import read_rank_state
from training.walltime import FIRST_SAVE_S, SAFETY, SLACK_S, Deadline, end_time, longest_save_s

RANK = """
import functools, sys, time
from pathlib import Path
from training.rank_state import RankState
from training.stop_signals import StopSignals
stop, state = StopSignals(), RankState(Path(sys.argv[1]), 0)
stop.before_leaving = functools.partial(state.finish, "preempted")
stop.listen()
stop.patient = sys.argv[2] == "patient"
{block}
"""
SLEEPING = 'print("ready", flush=True); time.sleep(60)'
IN_C = """
import hashlib
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"x", b"y", 10**9)
"""
"""A call that returns after minutes, holds no interpreter lock and lets no Python handler run, as a collective does."""
POLITE = """
print("ready", flush=True)
while not stop.signalled:
    time.sleep(0.01)
time.sleep(0.5)
state.finish("preempted", f"checkpointed after {stop.first.name}")
sys.exit(75)
"""


def start(folder: Path, block: str, patience: str = "patient") -> "subprocess.Popen[str]":
    """Start a rank and wait until it listens."""
    program = textwrap.dedent(RANK).format(block=textwrap.dedent(block))
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(folder), patience], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def message(folder: Path) -> str:
    state = read_rank_state(folder, 0)
    assert state is not None
    assert state["outcome"] == "preempted"
    return state["message"]


@pytest.mark.parametrize("block", [SLEEPING, IN_C])
def test_signal_twice_leaves_at_once_with_75_wherever_the_rank_is(tmp_path: Path, block: str) -> None:
    process = start(tmp_path, block)
    process.send_signal(signal.SIGUSR1)
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 75
    assert "a second signal (SIGTERM)" in message(tmp_path)


def test_signal_delivered_twice_within_a_second_is_one(tmp_path: Path) -> None:
    """Slurm's `scancel --full` reaches the starter, which passes it on, and the rank itself."""
    process = start(tmp_path, POLITE)
    process.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(5) == 75
    assert message(tmp_path) == "checkpointed after SIGTERM"


@pytest.mark.parametrize("block", [SLEEPING, IN_C])
def test_signal_before_training_leaves_at_once(tmp_path: Path, block: str) -> None:
    process = start(tmp_path, block, patience="none")
    process.send_signal(signal.SIGUSR1)
    assert process.wait(5) == 75
    assert "SIGUSR1 before there was anything to checkpoint" in message(tmp_path)


def test_deadline_keeps_time_for_a_step_and_a_checkpoint() -> None:
    """Steps of 10 s and a checkpoint of 40 s: 1.5 x 10 + 1.5 x 40 + 10 = 85 s are kept."""
    deadline = Deadline(time.time() + 86)
    deadline.step_took(10)
    deadline.step_took(4)
    deadline.save_took(40)
    assert deadline.needed_s == SAFETY * 10 + SAFETY * 40 + SLACK_S == 85
    assert not deadline.is_near()
    deadline.save_took(42)
    assert deadline.is_near()


def test_deadline_takes_the_first_checkpoint_on_trust() -> None:
    assert Deadline(None).needed_s == FIRST_SAVE_S + SLACK_S
    assert not Deadline(None).is_near()


def test_deadline_keeps_time_for_a_rollout_that_a_checkpoint_waits_for() -> None:
    plain, ahead = Deadline(None, 4.0), Deadline(None, 4.0, draws_ahead=True)
    plain.step_took(100)
    ahead.step_took(100)
    assert (plain.needed_s, ahead.needed_s) == (100 * 1.5 + 4 * 1.5 + SLACK_S, 200 * 1.5 + 4 * 1.5 + SLACK_S)


def test_longest_save_is_read_from_an_earlier_attempt(tmp_path: Path) -> None:
    rows = [{"timing_s/checkpoint": 3.0}, {"timing_s/checkpoint": 2.0, "timing_s_max/checkpoint": 7.5}, {}]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 4, "timing')
    assert longest_save_s(path) == 7.5
    assert longest_save_s(tmp_path / "none.jsonl") is None


@pytest.mark.parametrize(
    ("walltime", "environment", "expected"),
    [
        (None, {}, None),
        (100, {}, 1100.0),
        (None, {"SLURM_JOB_END_TIME": "5000"}, 5000.0),
        (100, {"SLURM_JOB_END_TIME": "1050"}, 1050.0),
        (100, {"POSTTRAIN_END_TIME": "1010", "SLURM_JOB_END_TIME": "5000"}, 1010.0),
    ],
)
def test_end_time_is_the_earliest(walltime: int | None, environment: dict[str, str], expected: float | None) -> None:
    """The runner's word counts in place of a walltime of the rank's own, which began later."""
    assert end_time(walltime, 1000.0, environment) == expected


def test_walltime_ends_training_with_a_checkpoint_that_goes_on(tmp_path: Path) -> None:
    """Before a checkpoint was measured one is taken to cost 60 s: of 65 s there is time for one step."""
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert run_stage(config, "sft", "--set", "runtime.walltime=65") == 75
    folder = planned(config, "sft").folder
    assert [path.name for path in committed(folder / "checkpoints")] == ["checkpoint-1"]
    state = read_rank_state(folder, 0)
    assert state is not None
    assert state["outcome"] == "preempted"
    assert state["preemption"]["cause"] == "too little time left on rank 0"
    assert state["preemption"]["checkpoint_s"] > 0
    assert run_stage(config, "sft") == 0
    assert [row["step"] for row in metrics(folder)] == [1, 2]


def test_signal_handlers_are_put_back(tmp_path: Path) -> None:
    from training.stop_signals import StopSignals

    before = signal.getsignal(signal.SIGTERM)
    stop = StopSignals()
    stop.listen()
    stop.patient = True
    os.kill(os.getpid(), signal.SIGTERM)
    assert stop.first == signal.SIGTERM
    stop.close()
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_to_a_rank_on_its_way_out_does_not_change_how_it_ended() -> None:
    """Between its last handler and its end: the default action would make a preempted stage a failed one."""
    program = """
        import os, signal, sys
        from training.stop_signals import StopSignals
        stop = StopSignals()
        stop.listen()
        stop.patient = True
        os.kill(os.getpid(), signal.SIGUSR1)
        stop.close(process_ends=True)
        os.kill(os.getpid(), signal.SIGUSR1)
        sys.exit(75)
    """
    assert subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=False).returncode == 75
