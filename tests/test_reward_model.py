"""Reward models: TRL's trainer under our sampler and checkpoints, an artifact that scores draws, a cache of scores."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset

import training.score_cache
from tests.stage_runs import learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.test_resume import dies_at_step
from tests.test_trainers_parity import arguments, chat
from training.models import load_tokenizer
from training.record import read_record, verify_record
from training.reward_model import RewardModelTrainer
from training.reward_scores import RewardModelScorer, load_reward_model, score_key
from training.score_cache import ScoreCache
from training.tokens import tokenise

PROMPT = chat("user", "Count 3")


def reward_stage(folder: Path, name: str = "rm", steps: int = 3, **fields: Any) -> dict[str, Any]:
    """A reward model of twenty pairs: epochs of two steps of eight."""
    block = stage("dpo", name, rows=20, folder=folder, **fields)
    block["trainer"] |= {"max_steps": steps}
    return {**block, "kind": "reward_model"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a reward model of seven steps and a sample stage that scores with it; the former has run."""
    folder = tmp_path_factory.mktemp("rm")
    drawn = stage("sample", folder=folder, rewards=[], reward_model={"model": "stage:rm", "weight": 0.5})
    config = write_pipeline(folder, reward_stage(folder, steps=7), drawn)
    assert run_stage(config, "rm") == 0
    return config


def test_reward_model_is_an_artifact_with_one_output_and_learns_its_pairs(trained: Path) -> None:
    folder = planned(trained, "rm").folder
    assert verify_record(folder) == []
    record = read_record(folder)
    assert record is not None
    assert (record["kind"], record["data"]["rows_kept"]) == ("reward_model", 20)
    assert [parent["stage"] for parent in record["parents"]] == ["base"]
    config = json.loads((folder / "model" / "config.json").read_text())
    assert config["architectures"] == ["LlamaForSequenceClassification"]
    assert weights(folder)["score.weight"].shape == (1, 64)
    steps = metrics(folder)
    assert steps[0]["loss"] == pytest.approx(0.693, abs=0.1)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert all(0 <= step["accuracy"] <= 1 and step["timing_s/forward_backward"] > 0 for step in steps)
    assert all(0 < step["perf/padding_share"] < 1 for step in steps)


def test_resumed_reward_model_ends_bit_identical(trained: Path, tmp_path: Path) -> None:
    expected = planned(trained, "rm").folder
    checkpoints = ("--run-dir", str(tmp_path), "--set", "runtime.checkpoint_every=3")
    dies_at_step(5, trained, "rm", *checkpoints)
    assert run_stage(trained, "rm", *checkpoints) == 0
    folder = next(tmp_path.glob("*-rm-*"))
    ours, theirs = weights(folder), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert learned(folder) == learned(expected)


def test_loss_of_a_batch_is_trl_s_and_minus_the_log_probability_of_the_better_answer(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Rows tokenised before and rows as they are make the same batch; -log sigmoid(chosen - rejected), by hand."""
    tokenizer = load_tokenizer(tiny_model)
    rows = Dataset.from_list(
        [
            {"prompt": PROMPT, "chosen": chat("assistant", "x" * n), "rejected": chat("assistant", "no")}
            for n in range(1, 5)
        ]
    )
    tokens = tokenise("reward_model", rows, tokenizer, arguments(trl.RewardConfig, tmp_path))
    assert all(tokens["prompt_matches"])
    losses, batches = [], []
    for kind, data in ((RewardModelTrainer, tokens), (trl.RewardTrainer, rows)):
        torch.manual_seed(0)
        model = load_reward_model(tiny_model)
        args = arguments(trl.RewardConfig, tmp_path)
        made = kind(model=model, args=args, train_dataset=data, processing_class=tokenizer)
        batch = made.data_collator([made.train_dataset[place] for place in range(4)])
        losses.append(made.compute_loss(made.model, dict(batch)).item())
        batches.append(batch)
    assert losses[0] == losses[1]
    assert torch.equal(batches[0]["input_ids"], batches[1]["input_ids"])
    with torch.no_grad():
        scores = model(**{name: batches[0][name] for name in ("input_ids", "attention_mask")}).logits[:, 0]
    by_hand = -torch.log(1 / (1 + torch.exp(scores[4:] - scores[:4]))).mean()
    assert losses[0] == pytest.approx(by_hand.item(), abs=1e-6)


@pytest.mark.slow
def test_reward_model_learns_the_same_in_parts(tmp_path: Path) -> None:
    """Pairs stay together where a micro-batch is computed in parts."""
    seen = []
    for budget in (None, 200):
        folder = tmp_path / str(budget)
        folder.mkdir()
        config = write_pipeline(
            folder,
            reward_stage(folder, steps=2, batch_size=16),
            runtime={"micro_batch_size": 8, "micro_batch_tokens": budget},
        )
        assert run_stage(config, "rm") == 0
        seen.append(metrics(planned(config, "rm").folder))
    for mine, theirs in zip(*seen, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
    assert seen[1][0]["perf/padding_share"] < seen[0][0]["perf/padding_share"]


def test_lora_reward_model_is_merged_with_its_trained_head(tmp_path: Path, tiny_model: Path) -> None:
    block = reward_stage(tmp_path, lora={"r": 4, "alpha": 8})
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, "rm") == 0
    tensors = weights(planned(config, "rm").folder)
    base = load_reward_model(tiny_model).state_dict()
    assert tensors.keys() == base.keys()
    changed = {name for name, tensor in tensors.items() if not torch.equal(tensor, base[name])}
    assert "score.weight" in changed
    assert any("q_proj" in name for name in changed)
    assert not any("norm" in name or "embed" in name for name in changed)


def test_draws_scored_by_a_reward_model_are_cached_and_scored_as_the_trainer_does(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second run of the stage computes no score."""
    monkeypatch.setattr(training.score_cache, "cache_root", lambda: tmp_path / "cache")
    assert run_stage(trained, "sample") == 0
    folder = planned(trained, "sample").folder
    record = read_record(folder)
    assert record is not None
    assert [parent["stage"] for parent in record["parents"]] == ["base", "rm"]
    drawn = [json.loads(line) for line in (folder / "draws.jsonl").read_text().splitlines()]
    scorer = RewardModelScorer(planned(trained, "rm").folder / "model", "float32", torch.device("cpu"))
    row = drawn[0]
    texts = [draw["completion"] for draw in row["draws"]]
    assert scorer.score(row["prompt"], texts) == [draw["rewards"]["reward_model"] for draw in row["draws"]]
    assert row["draws"][0]["reward"] == 0.5 * row["draws"][0]["rewards"]["reward_model"]
    ids = scorer.tokenizer.apply_chat_template(
        [*row["prompt"], {"role": "assistant", "content": texts[0]}], tokenize=True, return_dict=True
    )["input_ids"]
    with torch.no_grad():
        alone = load_reward_model(planned(trained, "rm").folder / "model")(torch.tensor([ids])).logits.item()
    assert row["draws"][0]["rewards"]["reward_model"] == pytest.approx(alone, abs=1e-5)

    shutil.rmtree(folder)
    monkeypatch.setattr(RewardModelScorer, "_logits", lambda *arguments: pytest.fail("a score was computed again"))
    assert run_stage(trained, "sample") == 0
    assert [json.loads(line) for line in (folder / "draws.jsonl").read_text().splitlines()] == drawn


def test_score_cache_names_a_score_by_prompt_and_completion_and_survives_a_cut_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.score_cache, "cache_root", lambda: tmp_path)
    cache = ScoreCache("reward_scores", "ab" * 32)
    one, other = score_key(PROMPT, "seven"), score_key(PROMPT, "eight")
    assert one != other != score_key(chat("user", "Count 4"), "eight")
    cache.add({one: 0.25, other: None})
    file = next((tmp_path / "reward_scores").rglob("*.jsonl"))
    file.write_bytes(file.read_bytes() + b'{"half')
    again = ScoreCache("reward_scores", "ab" * 32)
    assert (again[one], again[other]) == (0.25, None)
    again.add({one: 9.0, "third": 1.0})
    again.add({one: 9.0, other: 9.0})
    again.add({"fourth": 2.0})
    kept = [{one: 0.25, other: None}, {"third": 1.0}, {"fourth": 2.0}]
    assert [json.loads(line) for line in file.read_text().splitlines()] == kept
    assert ScoreCache("reward_scores", "ab" * 32)[one] == 0.25
    assert ScoreCache("reward_scores", "ab" * 32)["third"] == 1.0
    assert one not in ScoreCache("reward_scores", "cd" * 32)


def test_language_model_is_no_reward_model_and_a_conversation_beyond_the_context_has_no_score(
    trained: Path, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_pipeline(tmp_path, stage("sample", folder=tmp_path, rewards=[], reward_model=str(tiny_model)))
    assert run_stage(config, "sample") == 2
    assert "is no reward model: its config.json names LlamaForCausalLM" in capsys.readouterr().err
    scorer = RewardModelScorer(planned(trained, "rm").folder / "model", "float32", torch.device("cpu"))
    assert scorer.context is not None
    scores = scorer.score(PROMPT, ["short", "x" * scorer.context])
    assert scores[0] is not None
    assert scores[1] is None


def test_new_head_is_not_reported_as_missing(tiny_model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """transformers tells of it in a table of its own, in the middle of the log."""
    load_reward_model(tiny_model)
    shown = capfd.readouterr()
    assert "REPORT" not in shown.out + shown.err
    assert "it/s" not in shown.out + shown.err
