"""A write that fails on one rank alone: every rank still takes part in the collectives of the save, and trains on."""

import sys
from pathlib import Path
from typing import Any

import pytest

from launch.rank_environment import rank_environments, stage_command
from launch.ranks import run_ranks
from tests.stage_runs import learned, stage, write_pipeline
from tests.test_ranks_real import needs_compiler
from training.config import load_pipeline
from training.rank_state import RankState, read_rank_state
from training.resumable import CommitsCheckpoints
from training.saving import save, want_of_room
from training.world import COLLECTIVE_TIMEOUT_VARIABLE, World

OBSTRUCTED = """\
import os, sys
from pathlib import Path
from training.preemption import Preemption
from training.run_stage import main
on_step_end = Preemption.on_step_end
def obstructed(self, args, state, *rest, **kwargs):
    if state.global_step == 1 and os.environ["RANK"] == "0":
        (Path(args.output_dir) / "checkpoint-1" / os.environ["OBSTACLE"]).mkdir(parents=True)
    on_step_end(self, args, state, *rest, **kwargs)
Preemption.on_step_end = obstructed
sys.exit(main())
"""
"""At the end of step 1 a folder stands where a rank is about to write a file."""


class TrlLike:
    """What transformers and TRL do in a save: writes of one rank, collectives of all, writes again."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def create_model_card(self, **kwargs: Any) -> None:
        """On rank 0 alone."""
        self.done.append("create_model_card")

    def _save(self) -> None:
        self.done.append("_save")

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self.create_model_card()
        self.done.append("collective")
        self._save()
        self.done.append("collective")


@pytest.mark.parametrize("failing", ["save_own_state", "create_model_card", "_save"])
def test_failed_write_of_one_rank_does_not_keep_it_from_the_collectives(
    failing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Trainer(CommitsCheckpoints, TrlLike):
        args: Any = type("Arguments", (), {"output_dir": str(tmp_path)})
        state: Any = type("State", (), {"global_step": 1})

        def save_own_state(self, checkpoint: Path) -> None:
            self.done.append("save_own_state")

    def full(self: Any, *arguments: Any, **options: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("training.saving.want_of_room", lambda *arguments: None)
    monkeypatch.setattr(Trainer, failing, full)
    trainer = Trainer()
    saved: list[bool] = []
    trainer.commit_checkpoint = lambda path, write: saved.append(
        save(trainer, World(0, 0, 1), path, write, lambda: None)
    )
    trainer._save_checkpoint(None, None)
    assert saved == [False]
    assert trainer.done.count("collective") == 2
    assert failing not in trainer.done
    assert capsys.readouterr().err.count("checkpoint-1 COULD NOT BE SAVED: OSError: [Errno 28]") == 1


@pytest.mark.parametrize("rank", [0, 1])
def test_failed_commit_costs_that_checkpoint_on_every_rank(
    rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The manifest has been renamed into place when the flush of its folder fails on rank 0."""
    checkpoint = tmp_path / "checkpoint-2"
    said_by_0: list[Any] = [None, [], ["OSError: [Errno 5] Input/output error"]]

    def heard(world: World, value: Any) -> list[Any]:
        first = said_by_0.pop(0)
        return [value, None if first is None else []] if rank == 0 else [first, value]

    def settle() -> None:
        assert rank == 0
        (checkpoint / "manifest.json").write_text("{}")
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("training.saving.want_of_room", lambda *arguments: None)
    monkeypatch.setattr("training.saving.gather", heard)
    monkeypatch.setattr("training.saving.barrier", lambda world: None)
    trainer = type("Trainer", (CommitsCheckpoints, TrlLike), {})()
    assert not save(trainer, World(rank, rank, 2), checkpoint, lambda: checkpoint.mkdir(exist_ok=True), settle)
    told = "checkpoint-2 COULD NOT BE SAVED: OSError: [Errno 5] Input/output error. Training goes on"
    assert capsys.readouterr().err.count(told) == (rank == 0)
    assert checkpoint.exists() == (rank == 1)


def test_want_of_room_on_a_lost_file_system_is_a_failed_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(folder: Path) -> Any:
        raise OSError(116, "Stale file handle")

    monkeypatch.setattr("training.saving.first_estimate", lambda trainer: 1)
    monkeypatch.setattr("training.saving.shutil.disk_usage", lost)
    assert want_of_room(None, tmp_path / "checkpoint-1") == "OSError: [Errno 116] Stale file handle"


def test_rank_state_that_cannot_be_written_ends_nothing_and_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    state = RankState(tmp_path, 0)
    with monkeypatch.context() as patched:
        patched.setattr("training.rank_state.write_state", full)
        state.update(force=True, phase="train", step=3)
    state.finish("done")
    found = read_rank_state(tmp_path, 0)
    assert found is not None
    assert (found["step"], found["outcome"]) == (3, "done")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SFT and GRPO, two steps each with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("obstructed")
    (folder / "obstructed.py").write_text(OBSTRUCTED)
    from_base: dict[str, Any] = {"from": "base"}
    grpo = stage("grpo", folder=folder, **from_base)
    return write_pipeline(folder, stage("sft", folder=folder), grpo, runtime={"checkpoint_every": 1})


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("name", "zero_stage", "obstacle"),
    [("grpo", 0, "rollout.rank1.pt"), ("sft", 2, "latest"), ("sft", 3, "zero_to_fp32.py")],
)
def test_failed_write_on_one_of_two_ranks_costs_that_checkpoint_alone(
    config: Path, tmp_path: Path, name: str, zero_stage: int, obstacle: str
) -> None:
    overrides = ["runtime.processes=2", f"runtime.zero_stage={zero_stage}"]
    command = stage_command(config, ["--stage", name], overrides, tmp_path, debug=False)
    command = [sys.executable, str(config.parent / "obstructed.py"), *command[3:]]
    environments = rank_environments(load_pipeline(config, overrides).runtime, offline=True)
    own = {"OBSTACLE": obstacle, COLLECTIVE_TIMEOUT_VARIABLE: "60"}
    ended = run_ranks(command, [environment | own for environment in environments], lambda rank: tmp_path / f"{rank}")
    told = (tmp_path / "0").read_text()
    assert ended.code == 0, told
    assert told.count("checkpoint-1 COULD NOT BE SAVED") == 1
    assert told.count("COULD NOT BE SAVED") == 1
    assert [row["step"] for row in learned(next(tmp_path.glob(f"*-{name}-*")))] == [1, 2]
