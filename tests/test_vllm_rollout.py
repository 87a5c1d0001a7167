"""GRPO with completions from vLLM's side of the seam, by a stand-in that draws from weights of its own: what is synced,
checked, corrected, recorded and drawn again after an interruption; and vLLM itself, where it is installed."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch

import training.vllm_rollout
from launch.rank_environment import rank_environments, stage_command
from launch.ranks import run_ranks
from tests.stage_runs import LENGTH, learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.tiny_models import add_tokenizer, write_model
from tests.vllm_standin import StandIn, program
from training.config import load_pipeline
from training.parity import PARITY_ROWS
from training.record import read_record
from training.vllm_rollout import WEIGHTS

LARGE_HEADS = {"hidden_size": 128, "head_dim": 64, "num_attention_heads": 2, "num_key_value_heads": 1}
"""vLLM's attention on CPUs takes heads of 32 numbers or more."""
VLLM_PYTHON = os.environ.get("POSTTRAIN_VLLM_PYTHON")


def pipeline(folder: Path, steps: int, python: str | None = None, **fields: Any) -> Path:
    trainer = {"max_steps": steps, "learning_rate": 0.01, **fields.pop("trainer", {})}
    top = fields.pop("top", {})
    runtime = {"vllm": {"mode": "process", "python": python}, **fields.pop("runtime", {})}
    block = stage("grpo", folder=folder, rows=12, rollout="vllm", trainer=trainer, **fields)
    block["health"] = {"silent_groups": "off"}
    block["rewards"] = [{**LENGTH, "max_length": 12, "buffer": 12}]
    return write_pipeline(folder, block, runtime=runtime, **top)


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[StandIn]:
    """The engines that stages start from here on, each with the checksums of its syncs."""
    started: list[StandIn] = []

    class Listed(StandIn):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            started.append(self)

    monkeypatch.setattr(training.vllm_rollout, "EngineProcess", Listed)
    return started


def test_weights_are_synced_before_every_round_and_both_proofs_hold(tmp_path: Path, engines: list[StandIn]) -> None:
    config = pipeline(tmp_path, 4)
    assert run_stage(config, "grpo") == 0
    folder = planned(config, "grpo").folder
    rows = metrics(folder)
    assert len(set(engines[0].checksums)) == 4, "each step has weights of its own"
    assert max(row["parity/mean_kl"] for row in rows) < 1e-8
    assert [row["sampling/importance_sampling_ratio/mean"] for row in rows] == pytest.approx([1.0] * 4, abs=1e-4)
    assert any(row["grad_norm"] > 0 for row in rows)
    assert all(row["timing_s/weight_sync"] > 0 for row in rows)
    environment = read_record(folder)["environment"]
    assert environment["vllm"]["mode"] == "process"
    assert environment["vllm"]["packages"]["torch"]
    assert engines[0].setup["dtype"] == "float32"
    assert not (folder / WEIGHTS).exists()


def test_rounds_of_two_steps_are_synced_once_each(tmp_path: Path, engines: list[StandIn]) -> None:
    config = pipeline(tmp_path, 4, trainer={"generation_batch_size": 16})
    assert run_stage(config, "grpo") == 0
    assert len(engines[0].checksums) == 2


def test_adapters_are_merged_into_what_is_sent(tmp_path: Path, engines: list[StandIn]) -> None:
    config = pipeline(tmp_path, 3, lora={"r": 4, "alpha": 8})
    assert run_stage(config, "grpo") == 0
    assert len(set(engines[0].checksums)) == 3
    assert max(row["parity/mean_kl"] for row in metrics(planned(config, "grpo").folder)) < 1e-8


def test_the_importance_ratio_is_the_trainer_s_probability_over_the_sampler_s(
    tmp_path: Path, engines: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sampler that reports ln 2 too little for every token has half the probability: each ratio is 2, and with the
    ratio truncated at 1.5 it is 1.5; the gradient is that of the true ratio 1 times it."""
    norms = {}
    for shift, ratio, most in ((0.0, 1.0, 3.0), (-torch.log(torch.tensor(2.0)).item(), 2.0, 3.0), (-1.0, 1.5, 1.5)):
        monkeypatch.setattr(StandIn, "shift", shift)
        place = tmp_path / f"{ratio}"
        place.mkdir()
        correction = {"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": most}
        config = pipeline(place, 1, trainer=correction | {"max_grad_norm": 1000.0}, parity={"every": None})
        assert run_stage(config, "grpo") == 0
        (row,) = metrics(planned(config, "grpo").folder)
        assert row["sampling/importance_sampling_ratio/mean"] == pytest.approx(ratio, rel=1e-4)
        norms[ratio] = row["grad_norm"]
    assert norms[2.0] == pytest.approx(2 * norms[1.0], rel=1e-3)
    assert norms[1.5] == pytest.approx(1.5 * norms[1.0], rel=1e-3)


def test_weights_that_arrive_changed_stop_the_run(
    tmp_path: Path, engines: list[StandIn], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def flip(self: StandIn, sent: dict[str, torch.Tensor]) -> None:
        next(iter(sent.values())).view(-1)[7] += 1e-3

    monkeypatch.setattr(StandIn, "corrupt", flip)
    config = pipeline(tmp_path, 2)
    assert run_stage(config, "grpo") == 4
    assert "weights at step 1: vLLM holds" in capsys.readouterr().err
    folder = planned(config, "grpo").folder
    assert not (folder / "model").exists()
    assert not (folder / WEIGHTS).exists()


def test_a_sampler_that_reports_new_weights_but_draws_with_old_ones_fails_the_parity_proof(
    tmp_path: Path, engines: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What vLLM 0.32 does on CPUs with a head tied to the embedding, unless it is kept from packing it."""
    sync = StandIn.sync

    def first_only(self: StandIn, path: str) -> dict[str, Any]:
        before = {name: weight.clone() for name, weight in self.model.state_dict().items()}
        answer = sync(self, path)
        if len(self.checksums) > 1:
            self.model.load_state_dict(before)
        return answer

    monkeypatch.setattr(StandIn, "sync", first_only)
    config = pipeline(tmp_path, 4, trainer={"learning_rate": 0.1})
    assert run_stage(config, "grpo") == 4
    assert (planned(config, "grpo").folder / PARITY_ROWS).is_file()


def test_an_interrupted_stage_draws_the_same_completions_again(
    tmp_path: Path, engines: list[StandIn], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the middle of a round of two steps: its buffer is trained on, then the weights go to a new engine."""
    config = pipeline(tmp_path, 6, trainer={"generation_batch_size": 16})
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert run_stage(config, "grpo", "--run-dir", str(whole)) == 0
    every = ("--set", "runtime.checkpoint_every=3", "--run-dir", str(parts))
    generate = StandIn.generate

    def dies(self: StandIn, **arguments: Any) -> dict[str, Any]:
        if len(self.checksums) == 3:
            raise RuntimeError("killed")
        return generate(self, **arguments)

    monkeypatch.setattr(StandIn, "generate", dies)
    assert run_stage(config, "grpo", *every) == 1
    monkeypatch.setattr(StandIn, "generate", generate)
    assert run_stage(config, "grpo", *every) == 0
    assert len(engines[-1].checksums) == 1
    first, second = (next(folder.glob("*-grpo-*")) for folder in (whole, parts))
    assert learned(first) == learned(second)
    ours, theirs = weights(second), weights(first)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (first / "samples.jsonl").read_text() == (second / "samples.jsonl").read_text()


@pytest.mark.slow
def test_two_ranks_draw_from_one_process_what_one_rank_does(tmp_path: Path, engines: list[StandIn]) -> None:
    """Two real ranks whose rank 0 asks a child through the pipes; the first round is drawn from equal weights."""
    config = pipeline(tmp_path, 2, python=str(program(tmp_path)))
    assert run_stage(config, "grpo", "--run-dir", str(tmp_path / "one")) == 0
    overrides, run_dir = ["runtime.processes=2"], tmp_path / "two"
    command = stage_command(config, ["--stage", "grpo"], overrides, run_dir, debug=False)
    environments = rank_environments(load_pipeline(config, overrides).runtime, offline=True)
    assert run_ranks(command, environments, lambda rank: tmp_path / f"rank{rank}.log").code == 0
    first, second = (next((tmp_path / name).glob("*-grpo-*")) for name in ("one", "two"))
    assert drawn(first, 1) == drawn(second, 1)
    assert max(row["parity/mean_kl"] for row in metrics(second)) < 1e-8
    assert read_record(second)["environment"]["vllm"]["packages"] == {"vllm": "0.0.stand-in"}


def drawn(folder: Path, step: int) -> list[tuple[str, str]]:
    """The prompts and completions of the round that began with a step."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return sorted((repr(line["prompt"]), line["completion"]) for line in lines if line["step"] == step)


@pytest.mark.vllm
@pytest.mark.skipif(VLLM_PYTHON is None, reason="name the Python of vLLM's environment in POSTTRAIN_VLLM_PYTHON")
def test_vllm_itself_draws_from_the_synced_weights(tmp_path: Path) -> None:
    model = add_tokenizer(write_model(tmp_path / "tiny", "llama", tie_word_embeddings=True, **LARGE_HEADS))
    length = {"vllm_max_model_length": 128}
    config = pipeline(tmp_path, 3, python=VLLM_PYTHON, trainer=length, top={"model": str(model)})
    assert run_stage(config, "grpo") == 0
    folder = planned(config, "grpo").folder
    rows = metrics(folder)
    assert len(rows) == 3
    assert max(row["parity/mean_kl"] for row in rows) < 1e-6
    assert max(row["sampling/sampling_logp_difference/max"] for row in rows) < 1e-3
    assert all(row["timing_s/weight_sync"] > 0 for row in rows)
    assert "vllm" in " ".join(read_record(folder)["environment"]["vllm"]["packages"])
