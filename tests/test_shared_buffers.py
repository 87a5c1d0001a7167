"""DeepSpeed's buffers in shared memory go with the ranks that made them."""

import os
import sys
from pathlib import Path

import pytest

from launch import shared_buffers
from launch.node import StageRanks, run_node
from launch.shared_buffers import remove_buffers
from training.config import Runtime
from training.plan import PlannedStage

RANK = """
import os, pathlib, sys
name = "deepspeed_allreduce_buffer_{}_{MASTER_ADDR}_{MASTER_PORT}_{RANK}".format(os.getuid(), **os.environ)
with (pathlib.Path(sys.argv[1]) / name).open("x") as buffer:
    buffer.write("67 MB")
os._exit(9 if os.environ["RANK"] == "1" else 0)
"""


@pytest.fixture
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /dev/shm."""
    folder = tmp_path / "shm"
    folder.mkdir()
    monkeypatch.setattr(shared_buffers, "FOLDER", folder)
    return folder


def test_nothing_is_left_by_ranks_that_ended_or_died(tmp_path: Path, memory: Path) -> None:
    stage = PlannedStage(
        1, "sft", "sft", None, {}, "ab" * 32, [], tmp_path / "01-sft-abababab", "new", "new: it is new"
    )
    runtime = Runtime(processes=2, threads_per_process=1)
    end = run_node(StageRanks([sys.executable, "-c", RANK, str(memory)], runtime, True, tmp_path, stage))
    assert end.codes[1] == 9
    assert not list(memory.iterdir())


def test_buffers_of_other_ranks_ports_and_users_stay(memory: Path) -> None:
    def name(user: int, port: int, rank: int) -> str:
        return f"deepspeed_allreduce_buffer_{user}_127.0.0.1_{port}_{rank}"

    own = name(os.getuid(), 29500, 1)
    others = {name(os.getuid(), 29500, 0), name(os.getuid(), 29501, 1), name(os.getuid() + 1, 29500, 1), "else"}
    for file in {own, *others}:
        (memory / file).write_text("")
    remove_buffers([{"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500", "RANK": "1"}, {"OMP_NUM_THREADS": "1"}])
    assert {path.name for path in memory.iterdir()} == others
