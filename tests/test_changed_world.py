"""A run goes on with another number of ranks: the same rows in each step, weights equal up to rounding."""

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.rank_environment import rank_environments, stage_command
from launch.ranks import run_ranks
from tests.stage_runs import learned, run_stage, stage, weights, write_pipeline
from tests.test_ranks_real import needs_compiler
from tests.test_reward_model import reward_stage
from training.changed_world import to_universal
from training.checkpoint import committed, manifest_facts
from training.config import load_pipeline

STOPPING = """\
import os, signal, sys
from training.preemption import Preemption
from training.run_stage import main
on_step_end = Preemption.on_step_end
def stopped(self, args, state, *rest, **kwargs):
    if state.global_step == int(os.environ["STOP_AT"]) and os.environ.get("RANK", "0") == "0":
        os.kill(os.getpid(), signal.SIGUSR1)
    on_step_end(self, args, state, *rest, **kwargs)
Preemption.on_step_end = stopped
sys.exit(main())
"""
STEPS = 5
ON_ROWS = ("sft", "dpo")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SFT and DPO over epochs of two steps and GRPO with rounds of two steps, five steps each, all from the base."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "stopping.py").write_text(STOPPING)
    rounds = {"max_steps": STEPS, "generation_batch_size": 16}
    base: dict[str, Any] = {"from": "base"}
    return write_pipeline(
        folder,
        *(stage(kind, folder=folder, rows=20, trainer={"max_steps": STEPS}, **base) for kind in ON_ROWS),
        reward_stage(folder, steps=STEPS, **base),
        stage("grpo", folder=folder, rows=6, trainer=rounds, **base),
        runtime={"checkpoint_every": None},
    )


def start(config: Path, name: str, run_dir: Path, processes: int, zero_stage: int, stop_at: int = 0) -> int:
    """Run a stage on real ranks, stopped by a signal at the end of a step; returns the exit code."""
    overrides = [f"runtime.processes={processes}", f"runtime.zero_stage={zero_stage}"]
    pipeline = load_pipeline(config, overrides)
    command = stage_command(config, ["--stage", name], overrides, run_dir, debug=False)
    command = [sys.executable, str(config.parent / "stopping.py"), *command[3:]]
    environments = rank_environments(pipeline.runtime, offline=True)
    stops = [{**environment, "STOP_AT": str(stop_at)} for environment in environments]
    return run_ranks(command, stops, lambda rank: run_dir / f"{name}.rank{rank}.log").code


def folder_of(run_dir: Path, name: str) -> Path:
    return next(run_dir.glob(f"*-{name}-*"))


def assert_trained_alike(folder: Path, expected: Path) -> None:
    """Losses of some 5 within float32's rounding over five steps, weights within a twentieth of one update (1e-3)."""
    ours, theirs = learned(folder), learned(expected)
    assert [row["step"] for row in ours] == list(range(1, STEPS + 1))
    assert [row["num_tokens"] for row in ours] == [row["num_tokens"] for row in theirs]
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], rel=1e-5)
    mine, other = weights(folder), weights(expected)
    for name, tensor in other.items():
        torch.testing.assert_close(mine[name], tensor, atol=5e-5, rtol=0)


@pytest.fixture(scope="module")
def on_one_rank(config: Path) -> Callable[[str], Path]:
    """Gives a stage's folder after a run on one rank without DeepSpeed, which is made once."""

    @functools.cache
    def folder(name: str) -> Path:
        assert run_stage(config, name, "--run-dir", str(config.parent / "one")) == 0
        return folder_of(config.parent / "one", name)

    return folder


@pytest.mark.slow
def test_two_ranks_go_on_where_one_stopped(config: Path, on_one_rank: Callable[[str], Path], tmp_path: Path) -> None:
    """Stopped at step 3, in the middle of the second epoch."""
    assert start(config, "sft", tmp_path, 1, 0, stop_at=3) == 75
    assert start(config, "sft", tmp_path, 2, 0) == 0
    log = (tmp_path / "sft.rank0.log").read_text()
    assert "1 rank(s) wrote the checkpoint" in log
    assert "resumed at step 3 of 5" in log
    assert_trained_alike(folder_of(tmp_path, "sft"), on_one_rank("sft"))


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(
    ("name", "zero_stage", "before", "after"),
    [("sft", 2, 1, 2), ("sft", 3, 2, 1), ("dpo", 2, 1, 2), ("rm", 2, 2, 1)],
)
def test_deepspeed_goes_on_with_another_number_of_ranks_through_its_universal_checkpoint(
    config: Path,
    on_one_rank: Callable[[str], Path],
    tmp_path: Path,
    name: str,
    zero_stage: int,
    before: int,
    after: int,
) -> None:
    assert start(config, name, tmp_path, before, zero_stage, stop_at=3) == 75
    (checkpoint,) = committed(folder_of(tmp_path, name) / "checkpoints")
    assert manifest_facts(checkpoint)["processes"] == before
    assert start(config, name, tmp_path, after, zero_stage) == 0
    assert "universal checkpoint" in (tmp_path / f"{name}.rank0.log").read_text()
    assert_trained_alike(folder_of(tmp_path, name), on_one_rank(name))


def grpo_checkpoint(config: Path, run_dir: Path, stop_at: int) -> None:
    """Stop the GRPO stage on one rank, in this process, and let its manifest say that two ranks wrote it."""
    import signal

    from training.preemption import Preemption

    on_step_end = Preemption.on_step_end

    def patched(self: Preemption, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step == stop_at:
            os.kill(os.getpid(), signal.SIGUSR1)
        on_step_end(self, args, state, *rest, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Preemption, "on_step_end", patched)
        assert run_stage(config, "grpo", "--run-dir", str(run_dir)) == 75


@pytest.mark.parametrize("stop_at", [2, 3])
def test_grpo_goes_on_with_other_ranks_between_rounds_and_is_refused_inside_one(
    config: Path, tmp_path: Path, stop_at: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """A round feeds steps 1 and 2, the next one 3 and 4. Two ranks' files are one rank's twice."""
    import shutil

    grpo_checkpoint(config, tmp_path, stop_at)
    checkpoint = folder_of(tmp_path, "grpo") / "checkpoints" / f"checkpoint-{stop_at}"
    shutil.copy(checkpoint / "rollout.rank0.pt", checkpoint / "rollout.rank1.pt")
    manifest = checkpoint / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"processes": 1', '"processes": 2'))
    code = run_stage(config, "grpo", "--run-dir", str(tmp_path))
    said = capsys.readouterr()
    if stop_at == 3:
        assert code == 2
        assert "lies inside a rollout round" in said.err
        assert "runtime.processes=2" in said.err
    else:
        assert code == 0
        assert [row["step"] for row in learned(folder_of(tmp_path, "grpo"))] == list(range(1, STEPS + 1))


def test_to_universal_copies_where_the_file_system_has_no_hard_links(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from deepspeed.checkpoint import ds_to_universal

    checkpoint = tmp_path / "checkpoint-2"
    (checkpoint / "global_step2").mkdir(parents=True)
    (checkpoint / "trainer_state.json").write_text("{}")

    def unsupported(*arguments: Any, **options: Any) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "link", unsupported)
    monkeypatch.setattr(ds_to_universal, "main", lambda arguments: None)
    to_universal(checkpoint, tmp_path / "universal")
    assert (tmp_path / "universal" / "trainer_state.json").read_text() == "{}"
