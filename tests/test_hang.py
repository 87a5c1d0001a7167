"""The hang doctor: when it speaks, whom it names, and a rank that sleeps while the other waits in a collective."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from launch.hang import HangDoctor, RankView, diagnosis, odd_ranks, shortened
from launch.node import StageRanks, run_node
from launch.ranks_end import RanksEnd, failure_text
from training.config import Runtime
from training.plan import PlannedStage
from training.rank_state import RankState, forget_rank_states, read_rank_state, read_rank_states, state_path
from training.stacks import main_thread, stacks_path

COLLECTIVE = ("/x/torch/distributed/distributed_c10d.py:2500 in barrier", "/x/training/world.py:48 in barrier")
BACKWARD = ("/x/torch/autograd/graph.py:824 in _engine_run_backward",)
SLEEP = ("/x/training/rows.py:12 in fetch",)


def view(rank: int, phase: str, frames: tuple[str, ...] = (), step: int = 3, progress: int = 50) -> RankView:
    return RankView(rank, phase, step, 100.0, progress, frames)


def test_odd_rank_is_the_one_that_does_not_wait() -> None:
    """Both are in the same phase at the same step: only the stacks tell."""
    views = [view(0, "forward_backward", BACKWARD), view(1, "forward_backward", SLEEP)]
    assert [each.rank for each in odd_ranks(views)] == [1]
    assert "the odd one is rank 1, in forward_backward at step 3; rank 0 in forward_backward" in diagnosis(views)


def test_odd_rank_is_in_another_phase_than_most() -> None:
    """No stack names a collective (the wait is in a C extension called from our own code)."""
    views = [view(rank, "data" if rank == 2 else "optimizer") for rank in range(4)]
    assert [each.rank for each in odd_ranks(views)] == [2]
    assert "rank 2, in data at step 3, and its process does not answer; ranks 0, 1, 3 in optimizer" in diagnosis(views)


def test_odd_rank_is_a_step_behind() -> None:
    views = [view(rank, "optimizer", step=2 if rank == 0 else 3) for rank in range(3)]
    assert [each.rank for each in odd_ranks(views)] == [0]


def test_odd_rank_of_two_without_stacks_is_the_one_behind() -> None:
    assert [each.rank for each in odd_ranks([view(0, "data", progress=40), view(1, "optimizer", progress=41)])] == [0]


def test_odd_rank_where_all_wait_is_none() -> None:
    """Every rank is in a collective of the same name: mismatched collectives, or a network that is gone."""
    views = [view(rank, "forward_backward", COLLECTIVE) for rank in range(4)]
    assert odd_ranks(views) == []
    assert diagnosis(views) == "all are in forward_backward at step 3"


def test_main_thread_is_the_last_of_the_last_dump() -> None:
    dump = """Thread 0x01 (most recent call first):
  File "/lib/threading.py", line 331 in wait

Current thread 0x02 (most recent call first):
  File "/x/training/world.py", line 48 in barrier
  File "/x/training/run_stage.py", line 61 in main
"""
    assert main_thread(dump) == ["/x/training/world.py:48 in barrier", "/x/training/run_stage.py:61 in main"]
    assert shortened("/a/b/training/world.py:48 in barrier") == "training/world.py:48 in barrier"


class Watched:
    """A doctor over state files written by the test, under a clock of its own."""

    def __init__(self, folder: Path, processes: int = 2, limit_s: float = 100.0) -> None:
        self.folder, self.now = folder, 0.0
        self.doctor = HangDoctor(folder, processes, limit_s)
        self.doctor._clock = lambda: self.now
        self.doctor._next_look = 0.0
        (folder / "ranks").mkdir(exist_ok=True)

    def write(self, rank: int, **state: Any) -> None:
        defaults = {"pid": 1, "phase": "train", "activity": "data", "progress": 1, "step": 1, "outcome": None}
        state_path(self.folder, rank).write_text(json.dumps(defaults | state))

    def halted_at(self, now: float) -> bool:
        self.now = now
        views = self.doctor.views(now)
        return bool(views) and min(each.still_s for each in views) >= self.doctor._patience(views)


def test_doctor_speaks_when_all_are_still_for_the_limit(tmp_path: Path) -> None:
    watched = Watched(tmp_path)
    for rank in (0, 1):
        watched.write(rank)
    assert not watched.halted_at(0)
    assert not watched.halted_at(99)
    assert watched.halted_at(101)


def test_doctor_is_silent_while_one_gets_on(tmp_path: Path) -> None:
    """A rank that has finished its share of an evaluation waits for the others as long as they need."""
    watched = Watched(tmp_path)
    watched.write(0)
    for now in range(0, 1000, 50):
        watched.write(1, progress=now)
        assert not watched.halted_at(now)


@pytest.mark.parametrize(("phase", "activity", "factor"), [("starting", None, 8), ("train", "checkpoint", 4)])
def test_doctor_gives_long_phases_more_time(tmp_path: Path, phase: str, activity: str | None, factor: int) -> None:
    watched = Watched(tmp_path)
    for rank in (0, 1):
        watched.write(rank, phase=phase, activity=activity)
    assert not watched.halted_at(0)
    assert not watched.halted_at(factor * 100 - 1)
    assert watched.halted_at(factor * 100)


def test_doctor_counts_ranks_that_never_wrote_and_not_those_that_ended(tmp_path: Path) -> None:
    watched = Watched(tmp_path, processes=3)
    watched.write(0, outcome="done")
    watched.write(1)
    assert not watched.halted_at(0)
    assert [(each.rank, each.phase) for each in watched.doctor.views(0)] == [(1, "data"), (2, "starting")]


def test_rank_state_counts_progress_and_not_heartbeats(tmp_path: Path) -> None:
    state = RankState(tmp_path, 0)

    def progress() -> int:
        state.update(force=True)
        found = read_rank_state(tmp_path, 0)
        assert found is not None
        return found["progress"]

    before = progress()
    assert progress() == before
    state.enter("data")
    state.update(phase="train")
    state.update(step=2)
    state.update(step=2, metrics={"loss": 1.0})
    assert progress() == before + 3
    state.finish("done")


RANK = """
import os, sys, time
from pathlib import Path
from training.rank_state import RankState
from training.stacks import answer_with_stacks
from training.stop_signals import StopSignals
from training.world import World, barrier
folder, rank = Path(sys.argv[1]), int(os.environ["RANK"])
stop = StopSignals()
stop.listen()
stop.patient = True
state = RankState(folder, rank)
answer_with_stacks(folder, rank)
def asleep_before_the_collective():
    time.sleep(120)
barrier(World(rank, rank, 2))
state.update(force=True, phase="train", step=3)
state.enter("forward_backward")
state.update(force=True)
if rank == 1:
    asleep_before_the_collective()
barrier(World(rank, rank, 2))
"""


def test_ranks_one_asleep_before_a_collective_is_named_and_the_run_ended(tmp_path: Path) -> None:
    """Both ranks report the same phase and step; rank 0 sits in gloo's barrier and cannot run a handler."""
    end = run_hanging(tmp_path)
    assert end.code == 4
    text = failure_text(end, "sft")
    assert "the odd one is rank 1, in forward_backward at step 3; rank 0 in forward_backward at step 3" in text
    assert "in asleep_before_the_collective" in text
    assert "in barrier" in stacks_path(tmp_path / "01-sft-abababab", 0).read_text()
    assert [state["outcome"] for state in read_rank_states(tmp_path / "01-sft-abababab")] == ["stopped", "stopped"]


def run_hanging(folder: Path) -> RanksEnd:
    """Run two ranks of which the second sleeps, with a limit of two seconds."""
    stage = PlannedStage(1, "sft", "sft", None, {}, "ab" * 32, [], folder / "01-sft-abababab", "new", "new: it is new")
    runtime = Runtime(processes=2, stall_limit=2, threads_per_process=1)
    return run_node(StageRanks([sys.executable, "-c", RANK, str(stage.folder)], runtime, True, folder, stage))


def test_an_attempt_on_fewer_ranks_forgets_those_of_the_one_before(tmp_path: Path) -> None:
    """And leaves alone what another node's rank has just written."""
    for rank in range(4):
        RankState(tmp_path, rank).finish("failed")
    forget_rank_states(tmp_path, [0], 2)
    assert [path.name for path in sorted((tmp_path / "ranks").glob("*.json"))] == ["1.json"]


def test_rows_drawn_inside_a_long_rollout_are_progress(tmp_path: Path) -> None:
    state = RankState(tmp_path, 0)
    state.enter("generate")
    before = state._state["progress"]
    state.rows_done(64)
    state.finish("done")
    written = read_rank_state(tmp_path, 0)
    assert written is not None
    assert written["progress"] > before
