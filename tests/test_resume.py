"""Interrupted stages go on as if nothing had happened: the same weights bit for bit and the same metrics.

Every stage here runs in its second or third epoch when it is stopped. GRPO draws a rollout round for two optimizer
steps (`generation_batch_size` twice `batch_size`) and is stopped between them, so its buffer must survive.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import training.train
from tests.own_rewards import own
from tests.stage_runs import LENGTH, learned, run_stage, stage, weights, write_pipeline
from training.checkpoint import MANIFEST, committed
from training.config import load_pipeline
from training.plan import plan_run
from training.preemption import Preemption
from training.record import verify_record

CHECKPOINTS = ("--set", "runtime.checkpoint_every=3")
ROUND_OF_TWO_STEPS = {"num_generations": 4, "max_completion_length": 8, "generation_batch_size": 16}
CASES: dict[str, dict[str, Any]] = {
    "sft": {"kind": "sft", "rows": 20},
    "sft-whole-epochs": {"kind": "sft", "rows": 24},
    "sft-lora": {"kind": "sft", "rows": 20, "lora": {"r": 4, "alpha": 8, "dropout": 0.1}},
    "dpo": {"kind": "dpo", "rows": 20},
    "grpo": {"kind": "grpo", "rows": 6, "trainer": ROUND_OF_TWO_STEPS},
    "grpo-reused": {"kind": "grpo", "rows": 6, "trainer": ROUND_OF_TWO_STEPS | {"num_iterations": 2, "beta": 0.1}},
    "grpo-refilled": {
        "kind": "grpo",
        "rows": 12,
        "trainer": ROUND_OF_TWO_STEPS,
        "dynamic_sampling": {"order": "difficulty"},
    },
}
"""Epochs of two optimizer steps of eight rows; `grpo-reused` trains each round twice, in four steps; the 24 rows of
`sft-whole-epochs` leave none over, and its checkpoint lies at an epoch's end."""

Uninterrupted = Callable[[str], tuple[Path, Path]]


def pipeline(folder: Path, case: str) -> Path:
    """The case's one stage, seven steps long."""
    fields = {**CASES[case]}
    fields["trainer"] = {**fields.get("trainer", {}), "max_steps": 7}
    if fields["kind"] == "grpo":
        # `picky` cannot score some completions: the count of those must survive too.
        fields |= {"rewards": [{**LENGTH, "max_length": 12, "buffer": 12}, own("picky")], "max_error_rate": 0.9}
    return write_pipeline(folder, stage(fields.pop("kind"), case, folder=folder, **fields))


def folder_of(config: Path, run_dir: Path, name: str) -> Path:
    return plan_run(load_pipeline(config), run_dir)[name].folder


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Uninterrupted:
    """Config and stage folder of a case run in one go, without checkpoints; each case runs once."""
    runs: dict[str, tuple[Path, Path]] = {}

    def get(case: str) -> tuple[Path, Path]:
        if case not in runs:
            folder = tmp_path_factory.mktemp(case)
            config = pipeline(folder, case)
            assert run_stage(config, case, "--run-dir", str(folder / "whole")) == 0
            runs[case] = config, folder_of(config, folder / "whole", case)
        return runs[case]

    return get


def assert_same(folder: Path, expected: Path) -> None:
    """As `assert_learned_the_same`, in seven steps; a record that verifies and no checkpoints left."""
    assert_learned_the_same(folder, expected)
    assert [row["step"] for row in learned(folder)] == list(range(1, 8))
    assert verify_record(folder) == []
    assert not (folder / "checkpoints").exists()


def assert_learned_the_same(folder: Path, expected: Path) -> None:
    """Bit-identical weights, equal metrics in every step, and equal samples where there are any."""
    ours, theirs = weights(folder), weights(expected)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert learned(folder) == learned(expected)
    if (expected / "samples.jsonl").exists():
        assert (folder / "samples.jsonl").read_text() == (expected / "samples.jsonl").read_text()


def test_resume_at_the_end_trains_nothing_and_says_done(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint is the last step's; the process dies before the record is written."""
    config, expected = uninterrupted("sft")
    at_the_end = ("--set", "runtime.checkpoint_every=7")
    with monkeypatch.context() as patched:
        crash_after_checkpoint(patched, 7)
        assert run_stage(config, "sft", "--run-dir", str(tmp_path), *at_the_end) == 1
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *at_the_end) == 0
    assert "resumed at step 7 of 7" in capsys.readouterr().out
    assert_same(folder_of(config, tmp_path, "sft"), expected)
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *at_the_end) == 0
    assert "done already" in capsys.readouterr().out


def crash_after_checkpoint(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Die as soon as the checkpoint of `step` is committed."""
    commit = training.train.commit

    def commit_and_die(path: Path, *arguments: Any) -> None:
        commit(path, *arguments)
        if path.name == f"checkpoint-{step}":
            raise RuntimeError("the power went out")

    monkeypatch.setattr(training.train, "commit", commit_and_die)


def at_step_end(monkeypatch: pytest.MonkeyPatch, step: int, do: Callable[[], None]) -> None:
    """Have `do` called at the end of `step`, before the trainer asks whether a signal came."""
    on_step_end = Preemption.on_step_end

    def patched(self: Preemption, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            do()
        on_step_end(self, args, state, *rest, **kwargs)

    monkeypatch.setattr(Preemption, "on_step_end", patched)


def die() -> None:
    raise RuntimeError("the power went out")


def dies_at_step(step: int, config: Path, stage: str, *arguments: str) -> None:
    """Run a stage that dies at the end of `step`."""
    with pytest.MonkeyPatch.context() as patched:
        at_step_end(patched, step, die)
        assert run_stage(config, stage, *arguments) == 1


@pytest.mark.parametrize("case", CASES)
def test_resume_after_a_crash_goes_on_bit_identically(case: str, uninterrupted: Uninterrupted, tmp_path: Path) -> None:
    """The checkpoint is step 3's; the process dies at the end of step 5, whose work is lost and done again."""
    config, expected = uninterrupted(case)
    if case.startswith("grpo"):
        rates = [row["reward/error_rate"] for row in learned(expected) if "reward/error_rate" in row]
        assert all(0.0 < rate < 0.9 for rate in rates)
    dies_at_step(5, config, case, "--run-dir", str(tmp_path), *CHECKPOINTS)
    folder = folder_of(config, tmp_path, case)
    assert [path.name for path in committed(folder / "checkpoints")] == ["checkpoint-3"]
    assert run_stage(config, case, "--run-dir", str(tmp_path), *CHECKPOINTS) == 0
    assert_same(folder, expected)


@pytest.mark.parametrize("case", ["sft", "grpo"])
def test_resume_after_a_crash_right_behind_the_checkpoint_loses_no_metrics(
    case: str, uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = uninterrupted(case)
    with monkeypatch.context() as patched:
        crash_after_checkpoint(patched, 3)
        assert run_stage(config, case, "--run-dir", str(tmp_path), *CHECKPOINTS) == 1
    assert run_stage(config, case, "--run-dir", str(tmp_path), *CHECKPOINTS) == 0
    assert_same(folder_of(config, tmp_path, case), expected)


@pytest.mark.parametrize(
    ("case", "number"), [("sft", signal.SIGTERM), ("dpo", signal.SIGUSR1), ("grpo", signal.SIGUSR1)]
)
def test_resume_after_a_signal_checkpoints_exits_75_and_goes_on(
    case: str, number: signal.Signals, uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No periodic checkpoint is asked for: the signal itself makes the one of step 3."""
    config, expected = uninterrupted(case)
    with monkeypatch.context() as patched:
        at_step_end(patched, 3, lambda: os.kill(os.getpid(), number))
        assert run_stage(config, case, "--run-dir", str(tmp_path)) == 75
    folder = folder_of(config, tmp_path, case)
    assert [path.name for path in committed(folder / "checkpoints")] == ["checkpoint-3"]
    assert not (folder / "record.json").exists()
    assert run_stage(config, case, "--run-dir", str(tmp_path)) == 0
    assert_same(folder, expected)


def test_resume_signal_in_the_last_step_finishes_the_stage(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, expected = uninterrupted("sft")
    with monkeypatch.context() as patched:
        at_step_end(patched, 7, lambda: os.kill(os.getpid(), signal.SIGTERM))
        assert run_stage(config, "sft", "--run-dir", str(tmp_path)) == 0
    assert_same(folder_of(config, tmp_path, "sft"), expected)


def test_resume_from_the_checkpoint_before_a_damaged_and_an_unfinished_one(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the checkpoints of steps 2, 4 and 6 the last lost its manifest and one byte of 4's optimizer is wrong."""
    config, expected = uninterrupted("sft")
    every_two = ("--set", "runtime.checkpoint_every=2", "--set", "runtime.keep_checkpoints=5")
    with monkeypatch.context() as patched:
        crash_after_checkpoint(patched, 6)
        assert run_stage(config, "sft", "--run-dir", str(tmp_path), *every_two) == 1
    folder = folder_of(config, tmp_path, "sft")
    checkpoints = folder / "checkpoints"
    (checkpoints / "checkpoint-6" / MANIFEST).unlink()
    optimizer = checkpoints / "checkpoint-4" / "optimizer.pt"
    content = bytearray(optimizer.read_bytes())
    content[len(content) // 2] ^= 1
    optimizer.write_bytes(content)
    dies_at_step(3, config, "sft", "--run-dir", str(tmp_path), *every_two)
    assert sorted(path.name for path in checkpoints.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4.damaged"]
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *every_two) == 0
    assert_same(folder, expected)


def test_resume_with_a_checkpoint_of_another_zero_stage_is_refused(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, _ = uninterrupted("sft")
    with monkeypatch.context() as patched:
        crash_after_checkpoint(patched, 3)
        assert run_stage(config, "sft", "--run-dir", str(tmp_path), *CHECKPOINTS) == 1
    manifest = folder_of(config, tmp_path, "sft") / "checkpoints" / "checkpoint-3" / MANIFEST
    manifest.write_text(manifest.read_text().replace('"zero_stage": 0', '"zero_stage": 2'))
    capsys.readouterr()
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *CHECKPOINTS) == 2
    shown = capsys.readouterr().err
    assert "zero_stage was 2, is 0" in shown
    assert "Traceback" not in shown


def test_resume_after_a_full_disk_at_save_keeps_what_is_finished_and_goes_on(
    uninterrupted: Uninterrupted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, expected = uninterrupted("sft")

    def no_space(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "model.safetensors")

    with monkeypatch.context() as patched:
        patched.setattr(training.train, "save_artifact", no_space)
        assert run_stage(config, "sft", "--run-dir", str(tmp_path), *CHECKPOINTS) == 1
    shown = capsys.readouterr().err
    assert "no space left" in shown
    assert "Traceback" not in shown
    folder = folder_of(config, tmp_path, "sft")
    assert not (folder / "record.json").exists()
    assert verify_record(folder_of(config, tmp_path, "base")) == []
    assert run_stage(config, "sft", "--run-dir", str(tmp_path), *CHECKPOINTS) == 0
    assert_same(folder, expected)
