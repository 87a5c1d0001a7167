"""What our trainers change in TRL's is only what they say: order of rows, losses and advantages stay TRL's own."""

import copy
import hashlib
import inspect
import json
from pathlib import Path
from typing import Any

import accelerate.data_loader
import pytest
import torch
import transformers
import trl
import trl.trainer.utils
from accelerate.data_loader import BatchSamplerShard
from datasets import Dataset
from torch.utils.data import BatchSampler
from trl.trainer.utils import RepeatSampler

import training.grpo
from tests.own_rewards import ANSWERS, own
from tests.stage_runs import pair_rows, planned, run_stage, sft_rows, stage, write_pipeline
from tests.test_signal_rows import micro_batch
from tests.test_signal_rows import trainer as grpo_trainer
from training.dpo import DpoTrainer
from training.grpo_trainer import GrpoTrainer
from training.models import load_policy, load_tokenizer
from training.resumable import EpochRepeatSampler, EpochSampler
from training.sft import SftTrainer
from training.train import use_trained_positions_head


def optimizer_steps(sampler: EpochSampler, ranks: int, micro: int) -> list[list[int]]:
    """The rows of each optimizer step, sorted, as accelerate deals micro-batches out to the ranks."""
    accumulation = sampler.batch_size // (ranks * micro)
    dealt = []
    for rank in range(ranks):
        same_epoch = copy.copy(sampler)
        batches = BatchSampler(same_epoch, micro, drop_last=False)
        dealt.append(list(BatchSamplerShard(batches, ranks, rank, split_batches=False, even_batches=True)))
    steps = range(0, len(dealt[0]), accumulation)
    return [sorted(row for rank in dealt for batch in rank[s : s + accumulation] for row in batch) for s in steps]


@pytest.mark.parametrize("epoch", [0, 1])
def test_epoch_sampler_gives_each_step_the_same_rows_on_any_number_of_ranks(epoch: int) -> None:
    sampler = EpochSampler(rows=29, batch_size=8, seed=5)
    sampler.epoch = epoch
    expected = optimizer_steps(sampler, ranks=1, micro=8)
    assert [len(step) for step in expected] == [8, 8, 8]
    assert len({row for step in expected for row in step}) == 24
    for ranks, micro in [(1, 2), (2, 4), (2, 2), (4, 1), (8, 1)]:
        assert optimizer_steps(sampler, ranks, micro) == expected


def test_epoch_sampler_every_epoch_has_its_own_order_and_other_rows_left_over() -> None:
    sampler = EpochSampler(rows=10, batch_size=8, seed=5)
    epochs = [list(sampler) for _ in range(8)]
    assert len({tuple(order) for order in epochs}) == 8
    assert len({frozenset(range(10)) - frozenset(order) for order in epochs}) > 1
    assert list(EpochSampler(10, 8, seed=6)) != epochs[0]


def test_epoch_sampler_knows_the_rows_of_any_step() -> None:
    sampler = EpochSampler(rows=20, batch_size=8, seed=5)
    epochs = [list(sampler) for _ in range(2)]
    steps = [epoch[start : start + 8] for epoch in epochs for start in (0, 8)]
    assert [EpochSampler(20, 8, seed=5).step_rows(step) for step in (1, 2, 3, 4)] == steps


def test_epoch_sampler_set_to_an_epoch_gives_what_an_uninterrupted_run_has_there() -> None:
    uninterrupted = EpochSampler(rows=20, batch_size=8, seed=5)
    epochs = [list(uninterrupted) for _ in range(3)]
    resumed = EpochSampler(rows=20, batch_size=8, seed=5)
    resumed.epoch = 1
    assert [list(resumed), list(resumed)] == epochs[1:]


REPEATS = {"mini_repeat_count": 4, "batch_size": 3, "repeat_count": 2, "seed": 7}


@pytest.mark.parametrize("shuffle", [True, False])
def test_epoch_repeat_sampler_first_epoch_is_trl_s_order(shuffle: bool) -> None:
    options = {**REPEATS, "shuffle": shuffle}
    assert list(EpochRepeatSampler(range(10), **options)) == list(RepeatSampler(range(10), **options))


def test_epoch_repeat_sampler_set_to_an_epoch_gives_what_an_uninterrupted_run_has_there() -> None:
    uninterrupted = EpochRepeatSampler(range(10), **REPEATS)
    epochs = [list(uninterrupted) for _ in range(3)]
    assert epochs[0] != epochs[1] != epochs[2]
    resumed = EpochRepeatSampler(range(10), **REPEATS)
    resumed.epoch = 2
    assert list(resumed) == epochs[2]


def test_grpo_trainer_draws_prompts_in_trl_s_order(tiny_model: Path, tmp_path: Path) -> None:
    """Through the trainers themselves, with a round of two optimizer steps trained on twice."""
    settings = {"generation_batch_size": 8, "num_iterations": 2, "seed": 11}
    orders = [
        list(grpo_trainer(kind, tiny_model, tmp_path, load_policy(tiny_model), **settings)._get_train_sampler())
        for kind in (GrpoTrainer, trl.GRPOTrainer)
    ]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 4 * 2 * 2 * 2  # 4 prompts x 2 completions x 2 micro-batches x 2 iterations


def assert_same_loss_and_gradient(trainers: list[Any], losses: list[torch.Tensor]) -> None:
    """Of our trainer and TRL's, in that order."""
    torch.testing.assert_close(losses[0].detach(), losses[1].detach(), atol=1e-5, rtol=1e-5)
    for loss in losses:
        loss.backward()
    mine, theirs = (dict(made.model.named_parameters()) for made in trainers)
    for name, parameter in theirs.items():
        torch.testing.assert_close(mine[name].grad, parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_grpo_loss_with_the_trained_positions_head_equals_trl_s(
    tiny_model: Path, tmp_path: Path, temperature: float
) -> None:
    policy = load_policy(tiny_model)
    made = [
        grpo_trainer(kind, tiny_model, tmp_path, copy.deepcopy(policy), temperature=temperature)
        for kind in (GrpoTrainer, trl.GRPOTrainer)
    ]
    use_trained_positions_head(made[0], "grpo")
    losses = []
    for one in made:
        one.current_gradient_accumulation_steps = 1
        batch = micro_batch([1.0, -0.5, 0.25, -1.0], old=True)
        one.micro_batch = batch
        losses.append(one.compute_loss(one.model, batch))
    assert_same_loss_and_gradient(made, losses)


def arguments(config_class: Any, folder: Path) -> Any:
    return config_class(output_dir=str(folder), bf16=False, use_cpu=True, report_to=[], per_device_train_batch_size=4)


def chat(role: str, text: str) -> list[dict[str, str]]:
    return [{"role": role, "content": text}]


def sft_trainers(folder: Path, scratch: Path) -> list[Any]:
    rows = [
        {"prompt": chat("user", r["prompt"]), "completion": chat("assistant", r["completion"])} for r in sft_rows(4)
    ]
    return [
        kind(
            model=load_policy(folder),
            args=arguments(trl.SFTConfig, scratch),
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(folder),
        )
        for kind in (SftTrainer, trl.SFTTrainer)
    ]


def dpo_trainers(folder: Path, scratch: Path) -> list[Any]:
    rows = [
        {"prompt": chat("user", r["prompt"])} | {key: chat("assistant", r[key]) for key in ("chosen", "rejected")}
        for r in pair_rows(4)
    ]
    policy = load_policy(folder)
    with torch.no_grad():  # else policy and reference agree, and every loss is log 2
        for parameter in policy.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    return [
        kind(
            model=copy.deepcopy(policy),
            ref_model=load_policy(folder),
            args=arguments(trl.DPOConfig, scratch),
            train_dataset=Dataset.from_list(rows),
            processing_class=load_tokenizer(folder),
        )
        for kind in (DpoTrainer, trl.DPOTrainer)
    ]


@pytest.mark.parametrize(("kind", "make"), [("sft", sft_trainers), ("dpo", dpo_trainers)])
def test_loss_with_the_trained_positions_head_equals_trl_s(
    kind: str, make: Any, tiny_model: Path, tmp_path: Path
) -> None:
    """And so do the metrics that both log: entropy, token accuracy, implicit rewards."""
    made = make(tiny_model, tmp_path)
    use_trained_positions_head(made[0], kind)
    losses = []
    for one in made:
        batch = one.data_collator([one.train_dataset[place] for place in range(4)])
        one.model.train()
        losses.append(one.compute_loss(one.model, batch))
    logged = [{name: sum(v) / len(v) for name, v in one._metrics["train"].items()} for one in made]
    assert logged[0].keys() == logged[1].keys()
    assert logged[0] == pytest.approx(logged[1], abs=1e-4)
    assert_same_loss_and_gradient(made, losses)


TEXTS = ("a", "b", "c", "d")


def grpo_samples(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch, rewards: list[Any]
) -> list[dict[str, Any]]:
    """The rows of samples.jsonl of one step in which every prompt gets the completions a, b, c and d.

    Reward `first` gives them 1, 0, 0, 1 and `second` 1, 1, 0, 0, but raises on the completion that its parameter names.
    """
    tokenizer = load_tokenizer(tiny_model)
    drawn = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in TEXTS]
    monkeypatch.setattr(training.grpo, "generate", lambda model, prompts, *rest, **options: drawn * len(prompts))

    options = {"max_error_rate": 0.5, "parity": {"every": None}}  # the sampler is a stand-in
    block = stage("grpo", folder=tmp_path, rows=8, rewards=rewards, trainer={"max_steps": 1}, **options)
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, "grpo") == 0
    return [json.loads(line) for line in (planned(config, "grpo").folder / "samples.jsonl").read_text().splitlines()]


def advantages(rows: list[dict[str, Any]]) -> list[float]:
    """The advantages of the first group, after checking that both groups are alike."""
    assert [row["completion"] for row in rows] == [*TEXTS, *TEXTS]
    assert [row["advantage"] for row in rows[:4]] == [row["advantage"] for row in rows[4:]]
    return [row["advantage"] for row in rows[:4]]


def test_grpo_advantages_of_one_reward_by_hand(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rewards 1, 0, 0, 1: mean 1/2, sample deviation sqrt(4 x 1/4 / 3) = 0.57735; (r - 1/2) / 0.57745 = +-0.86588."""
    rows = grpo_samples(tmp_path, tiny_model, monkeypatch, [own("first")])
    assert advantages(rows) == pytest.approx([0.86588, -0.86588, -0.86588, 0.86588], abs=1e-4)
    assert [row["rewards"] for row in rows[:4]] == [{"first": ANSWERS[text]} for text in TEXTS]


def test_grpo_advantages_of_weighted_rewards_by_hand(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """first + second / 2 = 1.5, 0.5, 0, 1: mean 0.75, deviations 0.75, -0.25, -0.75, 0.25, sample deviation
    sqrt(1.25 / 3) = 0.64550; divided by 0.64560: 1.16171, -0.38724, -1.16171, 0.38724."""
    rows = grpo_samples(tmp_path, tiny_model, monkeypatch, [own("first"), own("second", weight=0.5)])
    assert advantages(rows) == pytest.approx([1.16171, -0.38724, -1.16171, 0.38724], abs=1e-4)


def test_grpo_completion_with_an_error_in_one_reward_is_left_out_of_its_group(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`second` raises on c. The others have first + second = 2, 1, 1: mean 4/3, deviations 2/3, -1/3, -1/3, sample
    deviation sqrt((4 + 1 + 1) / 9 / 2) = 0.57735; divided by 0.57745: 1.15450, -0.57725, -0.57725. c learns nothing."""
    rows = grpo_samples(tmp_path, tiny_model, monkeypatch, [own("first"), own("second", raising="c")])
    assert advantages(rows) == pytest.approx([1.15450, -0.57725, 0.0, -0.57725], abs=1e-4)
    assert rows[2]["rewards"] == {"first": None, "second": None}


SOURCES = {
    # overridden or called on a stand-in (training.grpo_trainer, .resumable, .length_groups, .tokens, .sft, .dpo)
    "trl.GRPOTrainer._get_train_sampler": "36497afb4d311dc9",
    "trl.GRPOTrainer._prepare_inputs": "f824e7fb07147956",
    "trl.GRPOTrainer._get_per_token_logps_and_entropies": "ea73c3909275851d",
    "trl.GRPOTrainer._save_checkpoint": "ec91bde123649111",
    "trl.SFTTrainer._save_checkpoint": "b6ee0a370c266b6f",
    "trl.DPOTrainer._save_checkpoint": "b6ee0a370c266b6f",
    "trl.RewardTrainer._save_checkpoint": "b6ee0a370c266b6f",
    "trl.SFTTrainer.evaluate": "77fd4eda985fc9da",
    "trl.DPOTrainer.evaluate": "c4ef502ba33a335a",
    "trl.RewardTrainer.evaluate": "24bf1ee05995058f",
    "trl.SFTTrainer._prepare_dataset": "04b668d28493f693",
    "trl.DPOTrainer._prepare_dataset": "35e349e8e8266df4",
    "trl.RewardTrainer._prepare_dataset": "d753a196b9cfefe9",
    "transformers.Trainer._save_checkpoint": "a9111e30faa99339",
    "transformers.Trainer._save": "b136889e87928376",
    "transformers.Trainer._load_from_checkpoint": "a2804e8d93a297e3",
    "transformers.Trainer._get_train_sampler": "1580d7493244e637",
    "transformers.Trainer._run_epoch": "31aff00f34c302a2",
    "trl.trainer.utils.RepeatSampler.__init__": "7898b11a3b9e9e07",
    "trl.trainer.utils.RepeatSampler.__iter__": "d80412d80424bd64",
    "trl.trainer.utils.RepeatSampler.__len__": "e9956f6650d8913b",
    # replaced (training.head, training.rollout through rollout_func, training.reward_functions)
    "trl.trainer.utils.add_fused_lm_head": "422d009f04b66659",
    "trl.GRPOTrainer._generate": "2a27fdf8f5e6f356",
    "trl.GRPOTrainer._generate_single_turn": "e0f02e4fc094cefd",
    "trl.GRPOTrainer._calculate_rewards": "736ae29b083840b5",
    # relied on by an override: what it reads, and when it is called
    "trl.GRPOTrainer._generate_and_score_completions": "1fa48922792dcd5c",
    "trl.GRPOTrainer._compute_loss": "80295546bbdbf6f7",
    "trl.GRPOTrainer._tool_call_loop": "1c501f7f3b469f7e",
    "trl.GRPOTrainer._get_tool_suffix_ids": "e62362aef61aa88c",
    "trl.GRPOTrainer._tokenize_prompts": "d2d27f7c9bfda85f",
    "trl.GRPOTrainer.training_step": "9e18632f7dd8e8d8",
    "trl.GRPOTrainer.log": "1e7772819cc8cf09",
    "trl.SFTTrainer.compute_loss": "ca448211ff653fe6",
    "trl.SFTTrainer.log": "0d4c8e5d64f894ac",
    "trl.DPOTrainer._compute_loss": "5e58a1699e0d76cd",
    "trl.DPOTrainer.log": "e80e122cfe5fd8ad",
    "trl.RewardTrainer.compute_loss": "ec4fad890ecfab14",
    "trl.RewardTrainer.log": "0d4c8e5d64f894ac",
    "transformers.Trainer._inner_training_loop": "20ec4276e99fe7ae",
    "transformers.Trainer._init_training_state": "8fbd17ebb7d3793d",
    "transformers.Trainer.get_batch_samples": "0b3727386f73f670",
    "transformers.Trainer._clip_grad_norm": "ebfa9dc91d3088ab",
    "transformers.Trainer._maybe_log_save_evaluate": "af101534f0f7b2d7",
    "accelerate.data_loader.BatchSamplerShard.__iter__": "2f92def468d7a12d",
    "accelerate.data_loader.skip_first_batches": "c3e05a215cb63cad",
}
"""First 16 hex digits of the sha256 of each source that our overrides were written against."""


def resolve(dotted: str) -> Any:
    """The object a dotted name means; the class must define the method itself, as it did when we read it."""
    first, *parts = dotted.split(".")
    found: Any = {"trl": trl, "transformers": transformers, "accelerate": accelerate}[first]
    for part in parts:
        found = vars(found)[part] if inspect.isclass(found) else getattr(found, part)
    return found


@pytest.mark.parametrize("dotted", SOURCES)
def test_source_that_an_override_was_written_against_is_unchanged(dotted: str) -> None:
    digest = hashlib.sha256(inspect.getsource(resolve(dotted)).encode()).hexdigest()
    assert digest[:16] == SOURCES[dotted], f"{dotted} changed: read it against our override, then note {digest[:16]}"


def test_trainers_of_trl_on_rows_have_no_train_sampler_of_their_own() -> None:
    """Ours replace the one of transformers; a sampler that TRL adds would be lost."""
    for kind in (trl.SFTTrainer, trl.DPOTrainer, trl.RewardTrainer):
        assert kind._get_train_sampler is transformers.Trainer._get_train_sampler
        assert kind._run_epoch is transformers.Trainer._run_epoch
    assert trl.GRPOTrainer._run_epoch is transformers.Trainer._run_epoch
