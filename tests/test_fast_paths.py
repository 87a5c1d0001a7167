"""What is taken and what is left to TRL is told with the reason, and leaving all of it to TRL gives the same model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stage_runs import planned, run_stage, stage, weights, write_pipeline
from tests.test_signal_rows import trainer as grpo_trainer
from training.fast_paths import CONTEXTS, HEAD, PACKED, SHARED, SILENT, in_words
from training.grpo_trainer import GrpoTrainer
from training.models import load_policy
from training.packed_linear import PAYS_FROM


def words(folder: Path, scratch: Path, **settings: Any) -> list[str]:
    return in_words(grpo_trainer(GrpoTrainer, folder, scratch, load_policy(folder), **settings), "grpo", allowed=True)


def test_what_is_taken_stands_in_one_line(tiny_model: Path, tmp_path: Path) -> None:
    first, last = words(tiny_model, tmp_path)
    assert first == f"fast paths: {HEAD}, {CONTEXTS}, {SILENT}"
    assert last.startswith(f"left to TRL: {PACKED}: it pays from completions of {PAYS_FROM} tokens on")


@pytest.mark.parametrize(("reason", "said"), [(None, ""), ("no C compiler", " for oneDNN (not for our kernel: no C")])
def test_the_line_says_which_kernel_the_weights_are_packed_for(
    reason: str | None, said: str, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = grpo_trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model))
    made.args.max_completion_length = PAYS_FROM
    monkeypatch.setattr("training.packed_linear.why_model_not_packed", lambda model: None)
    monkeypatch.setattr("training.packed_linear.why_not_few_rows", lambda: reason)
    assert f"{PACKED}{said}" in in_words(made, "grpo", allowed=True)[0]
    assert ("oneDNN" in in_words(made, "grpo", allowed=True)[0]) is (reason is not None)


@pytest.mark.parametrize(
    ("settings", "left", "reason"),
    [
        ({"beta": 0.1}, SILENT, "beta"),
        ({"cast_lm_head_to_fp32": True}, HEAD, "cast_lm_head_to_fp32"),
        ({"cast_lm_head_to_fp32": True}, CONTEXTS, "TRL's head"),
        ({"top_entropy_quantile": 0.5}, SILENT, "entropy"),
    ],
)
def test_what_is_left_to_trl_has_a_reason(
    tiny_model: Path, tmp_path: Path, settings: dict[str, Any], left: str, reason: str
) -> None:
    (line,) = (line for line in words(tiny_model, tmp_path, **settings) if line.startswith(f"left to TRL: {left}"))
    assert reason in line


def test_rows_are_shared_only_among_several_ranks(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = grpo_trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model), loss_type="bnpo")
    assert not any(SHARED in line for line in in_words(made, "grpo", allowed=True))
    monkeypatch.setattr(type(made.accelerator), "num_processes", 2)
    assert any(line.startswith(f"left to TRL: {SHARED}") for line in in_words(made, "grpo", allowed=True))


def test_a_micro_batch_smaller_than_a_group_says_what_would_hold_it(tiny_model: Path, tmp_path: Path) -> None:
    made = grpo_trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model))
    made.args.per_device_train_batch_size, made.num_generations = 2, 4
    made.args.gradient_accumulation_steps = 2
    (line,) = (line for line in in_words(made, "grpo", allowed=True) if line.startswith("fast paths"))
    assert f"{CONTEXTS} in each micro-batch of 2 (once a group with runtime.micro_batch_size.grpo=4)" in line
    for steps, group in ((2, 2), (1, 4)):  # it holds a group; a rank's step holds none
        made.args.gradient_accumulation_steps, made.num_generations = steps, group
        assert not any("each micro-batch" in line for line in in_words(made, "grpo", allowed=True))


@pytest.mark.parametrize("kind", ["dpo", "grpo"])
def test_all_left_to_trl_is_the_same_stage_and_trains_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    config = write_pipeline(tmp_path, stage(kind, folder=tmp_path))
    off = ("--set", "runtime.fast_paths=false")
    assert run_stage(config, kind) == 0
    assert f"fast paths: {HEAD}, {CONTEXTS}" in capsys.readouterr().out
    assert run_stage(config, kind, *off, "--run-dir", str(tmp_path / "slow")) == 0
    assert "fast paths: none (runtime.fast_paths is false)" in capsys.readouterr().out
    fast = planned(config, kind)
    (slow,) = (tmp_path / "slow").glob(f"*-{kind}-{fast.fingerprint[:8]}")
    for name, tensor in weights(slow).items():
        torch.testing.assert_close(weights(fast.folder)[name], tensor, atol=2e-5, rtol=1e-4)
