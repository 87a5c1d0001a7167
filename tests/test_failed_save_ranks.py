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
from training.resumable import CommitsCheckpoints
from training.saving import save
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
    trainer.commit_checkpoint = lambda path, write: saved.append(save(trainer, World(0, 0, 1), path, write))
    trainer._save_checkpoint(None, None)
    assert saved == [False]
    assert trainer.done.count("collective") == 2
    assert failing not in trainer.done
    assert capsys.readouterr().err.count("checkpoint-1 COULD NOT BE SAVED: OSError: [Errno 28]") == 1


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SFT and GRPO, two steps each with a checkpoint after each."""
    folder = tmp_path_factory.mktemp("obstructed")
    (folder / "obstructed.py").write_text(OBSTRUCTED)
    grpo = stage("grpo", folder=folder, **{"from": "base"})
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
