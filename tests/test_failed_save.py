"""A checkpoint that cannot be written costs that checkpoint alone: the older ones stay, training goes on, loudly."""

import json
import os
import shutil
import types
from pathlib import Path
from typing import Any

import pytest
import torch

import training.saving
from tests.stage_runs import learned, planned, run_stage, stage, weights, write_pipeline
from training.checkpoint import bytes_of_newest, committed
from training.preemption import Preemption

EVERY_STEP = ("--set", "runtime.checkpoint_every=1", "--set", "runtime.keep_checkpoints=9")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of one SFT stage of four steps."""
    folder = tmp_path_factory.mktemp("saves")
    return write_pipeline(folder, stage("sft", folder=folder, trainer={"max_steps": 4}))


@pytest.fixture(scope="module")
def whole(config: Path) -> Path:
    """Its folder after a run without checkpoints."""
    assert (
        run_stage(config, "sft", "--run-dir", str(config.parent / "whole"), "--set", "runtime.checkpoint_every=null")
        == 0
    )
    return next((config.parent / "whole").glob("*-sft-*"))


def at_each_step(monkeypatch: pytest.MonkeyPatch, look: Any) -> None:
    """Call `look(step)` at the end of each step, before its checkpoint."""
    on_step_end = Preemption.on_step_end

    def patched(self: Preemption, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        look(state.global_step)
        on_step_end(self, args, state, *rest, **kwargs)

    monkeypatch.setattr(Preemption, "on_step_end", patched)


def assert_same(folder: Path, expected: Path) -> None:
    ours, theirs = weights(folder), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert learned(folder) == learned(expected)


def test_failed_save_keeps_the_older_checkpoint_and_trains_on(
    config: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch.save of the optimizer fails at steps 2 and 3; the process dies in step 4 and goes on from step 1."""
    save, failing = torch.save, [2, 3]
    at = {"step": 0}

    def torn(state: Any, path: Any, *arguments: Any, **options: Any) -> None:
        if at["step"] in failing and str(path).endswith("optimizer.pt"):
            Path(path).write_bytes(b"half")
            raise OSError(28, "No space left on device", str(path))
        save(state, path, *arguments, **options)

    def look(step: int) -> None:
        at["step"] = step
        if step == 4:
            raise RuntimeError("the power went out")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "save", torn)
        at_each_step(patched, look)
        assert run_stage(config, "sft", "--run-dir", str(tmp_path), *EVERY_STEP) == 1
    told = capsys.readouterr().err
    assert "checkpoint-2 COULD NOT BE SAVED: OSError: [Errno 28] No space left on device" in told
    assert "checkpoint-3 COULD NOT BE SAVED" in told
    assert "checkpoint-1 is still there" in told
    folder = next(tmp_path.glob("*-sft-*"))
    assert [path.name for path in (folder / "checkpoints").glob("checkpoint-*")] == ["checkpoint-1"]
    assert run_stage(config, "sft", "--run-dir", str(tmp_path)) == 0
    assert "resumed at step 1 of 4" in capsys.readouterr().out
    assert_same(folder, whole)


def test_failed_save_for_want_of_room_is_known_before_anything_is_written(
    config: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[int] = []

    def shrinking(folder: Path) -> Any:
        seen.append(bytes_of_newest(next(tmp_path.glob("*-sft-*")) / "checkpoints"))
        return types.SimpleNamespace(free=1 << 30 if len(seen) == 1 else seen[-1] - 1)

    monkeypatch.setattr(training.saving.shutil, "disk_usage", shrinking)
    kept: list[list[str]] = []
    folder = planned(config, "sft").folder
    at_each_step(
        monkeypatch,
        lambda step: kept.append([path.name for path in committed(tmp_path / folder.name / "checkpoints")]),
    )
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *EVERY_STEP) == 0
    assert kept == [[], ["checkpoint-1"], ["checkpoint-1"], ["checkpoint-1"]]
    assert seen[0] == 0
    assert seen[1] > 0
    assert capsys.readouterr().err.count("COULD NOT BE SAVED: it takes about") == 3
    assert_same(tmp_path / folder.name, whole)


def test_first_estimate_of_an_adapter_is_near_what_its_checkpoint_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model below it is in no checkpoint; the headers of the files are not in the estimate."""
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path, lora={"r": 16}, trainer={"max_steps": 2}))
    estimates, taken = [], []

    def looked(trainer: Any, checkpoint: Path) -> None:
        estimates.append(training.saving.first_estimate(trainer))
        folder = checkpoint.parent / "checkpoint-1"
        names = ("adapter_model.safetensors", "optimizer.pt")
        taken.append(sum((folder / name).stat().st_size for name in names if folder.is_dir()))

    monkeypatch.setattr(training.saving, "want_of_room", looked)
    assert run_stage(config, "sft", *EVERY_STEP) == 0
    assert estimates[0] == estimates[1]
    assert 0.8 * taken[1] < estimates[1] <= taken[1]


@pytest.mark.parametrize(("zero_stage", "gathers", "copies"), [(2, False, 2), (3, False, 0), (3, True, 1)])
def test_first_estimate_under_deepspeed(zero_stage: int, gathers: bool, copies: int) -> None:
    """Ten bf16 weights trained: twice or once 20 bytes of them, master and two moments of 40 bytes each."""
    trainer = types.SimpleNamespace(
        model=torch.nn.Linear(5, 2, bias=False, dtype=torch.bfloat16),
        accelerator=types.SimpleNamespace(unwrap_model=lambda model: model),
        deepspeed=types.SimpleNamespace(
            zero_optimization_partition_weights=lambda: zero_stage == 3,
            zero_gather_16bit_weights_on_model_save=lambda: gathers,
        ),
    )
    assert training.saving.first_estimate(trainer) == copies * 20 + 120


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_failed_save_without_permission_trains_on(
    config: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / planned(config, "sft").folder.name

    def look(step: int) -> None:
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints").chmod(0o755 if step != 2 else 0o555)

    at_each_step(monkeypatch, look)
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *EVERY_STEP) == 0
    assert capsys.readouterr().err.count("COULD NOT BE SAVED: PermissionError") == 1
    assert_same(folder, whole)


def test_failure_of_ours_inside_a_save_is_no_failed_write(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: Any, **options: Any) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(torch, "save", wrong)
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *EVERY_STEP) == 1


def test_resumed_stage_s_ledger_holds_the_steps_before_its_checkpoint(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(step: int) -> None:
        if step == 3:
            raise RuntimeError("the power went out")

    with monkeypatch.context() as patched:
        at_each_step(patched, die)
        assert run_stage(config, "sft", "--run-dir", str(tmp_path), *EVERY_STEP) == 1
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *EVERY_STEP) == 0
    folder = next(tmp_path.glob("*-sft-*"))
    ledger = json.loads((folder / "record.json").read_text())["ledger"]
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert len(lines) == 4
    assert ledger["timing_s"]["step"] == pytest.approx(sum(row["timing_s/step"] for row in lines), abs=0.01)
    assert ledger["wall_s"] >= ledger["timing_s"]["step"]
    last_save_s = ledger["after_last_step_s"]["checkpoint"]
    assert last_save_s > 0.0
    saves_s = [row["timing_s/checkpoint"] for row in lines]
    assert ledger["timing_s"]["checkpoint"] == pytest.approx(sum(saves_s) + last_save_s, abs=2e-3)
    shutil.rmtree(tmp_path)
