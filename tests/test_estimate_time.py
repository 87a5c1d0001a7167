"""FLOPs and seconds against arithmetic by hand and figures that others published."""

from dataclasses import replace
from typing import Any

import pytest

from training.estimate.estimate import Pace, Range
from training.estimate.flops import attention_flops, forward_flops, training_passes
from training.estimate.hardware import GPUS
from training.estimate.known_models import find_config
from training.estimate.shape import Shape, shape_of
from training.estimate.step_time import Lengths, Rates, decode_seconds, tokens_per_second, update_seconds
from training.estimate.workload import Adapters, Workload
from training.estimate.workloads import Job

SMALL: dict[str, Any] = {
    "model_type": "llama",
    "num_hidden_layers": 2,
    "hidden_size": 8,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "intermediate_size": 16,
    "vocab_size": 100,
    "tie_word_embeddings": True,
    "max_position_embeddings": 64,
}
H100 = GPUS["h100-80gb"]


def small() -> Shape:
    return shape_of(SMALL)


def job(workload: Workload, **more: Any) -> Job:
    plain: dict[str, Any] = {"algebra": None, "updates": None, "rounds_per_update": 0.0, "decoded": None, "draws": 1}
    return Job(workload, **(plain | {"old_logprobs": 0.0, "prompt_limited": False} | more))


def test_forward_flops_by_hand() -> None:
    """A layer of `SMALL`: attention 8x8 queries, 2 x 8x4 keys and values, 8x8 output = 192; feed-forward 3 x 8x16 =
    384; two norms of 8. Two layers and a last norm are 1,192; the tied head is 100 x 8. Two FLOPs a weight.

    Attention over 10 tokens: scores and sum, 2 FLOPs x 2 heads x (4 + 4) x 10 tokens x 2 layers = 640.
    """
    assert forward_flops(small(), 0) == 2 * (1192 + 800)
    assert forward_flops(small(), 0, head_share=0.25) == 2 * (1192 + 200)
    assert attention_flops(small(), 10) == 640
    assert forward_flops(small(), 10) == 2 * (1192 + 800) + 640


def test_sliding_layers_attend_to_their_window_only() -> None:
    sliding = replace(small(), sliding_window=4, sliding_layers=1)
    assert attention_flops(sliding, 10) == attention_flops(small(), 10) / 2 * (1 + 4 / 10)


def test_a_mixture_computes_with_its_active_parameters() -> None:
    """DeepSeek-V3 (arXiv 2412.19437): of 671 B parameters 37 B are activated a token; training costs 6 of those."""
    flops = 3 * forward_flops(shape_of(find_config("deepseek-ai/DeepSeek-V3")), 0)
    assert flops == pytest.approx(6 * 37e9, rel=0.02)


def test_training_costs_6n_recomputed_8n_frozen_4n() -> None:
    plain = Workload("sft")
    assert [2 * training_passes(one) for one in (plain, replace(plain, checkpointing=True))] == [6, 8]
    assert 2 * training_passes(replace(plain, lora=Adapters(8))) == 4


def test_llama_7b_training_rate_is_its_mfu() -> None:
    """At an MFU of 0.4 an H100 does 989.4e12 x 0.4 FLOP/s; a token costs 6 x 6.6 B, and attention to 2,048 tokens."""
    shape = shape_of(find_config("meta-llama/Llama-2-7b-hf"))
    work = Workload("sft", micro_batch=1, sequence_length=4096, compute_dtype="bfloat16")
    rates = Rates(mfu=0.4, bandwidth_share=1e9, launch_s=0.0)
    spent = update_seconds(shape, job(work), Lengths(4096, 0, 0, 0), H100, rates)["forward_backward"]
    body = 6_738_415_616 - 32_000 * 4096
    attention = 2 * 2 * 32 * 128 * 2048 * 32
    assert spent == pytest.approx(4096 * 3 * (2 * body + attention) / (989.4e12 * 0.4), rel=1e-6)


def test_decoding_reads_all_weights_a_token_and_a_mixture_fewer() -> None:
    """A dense model's step at infinite FLOP/s is its bytes over the bandwidth; of a mixture only the routed experts."""
    rates = Rates(mfu=1e9, bandwidth_share=1.0, launch_s=0.0)
    work = Workload("sample", generation_rows=1, compute_dtype="bfloat16")
    lengths = Lengths(0, 1, 100, 100)
    llama = shape_of(find_config("meta-llama/Llama-2-7b-hf"))
    dense = decode_seconds(llama, job(work), lengths, H100, rates, 1)
    assert dense == pytest.approx(100 * 2 * 6_738_415_616 / 3350e9, rel=0.01)
    mixture = shape_of(find_config("deepseek-ai/DeepSeek-V3"))
    alone = decode_seconds(mixture, job(work), lengths, H100, rates, 1)
    assert alone == pytest.approx(100 * 2 * 37.5e9 / 3350e9, rel=0.02)
    crowd = decode_seconds(mixture, job(replace(work, generation_rows=4096)), lengths, H100, rates, 4096)
    assert crowd > 15 * alone, "with many rows every expert is needed"


def test_generation_rate_grows_with_the_rows_decoded_together() -> None:
    shape, rates = shape_of(find_config("meta-llama/Llama-2-7b-hf")), Rates(0.3, 0.5, 0.8e-3)
    lengths = Lengths(0, 64, 512, 512)
    found = [
        tokens_per_second(shape, job(Workload("grpo", generation_rows=rows)), lengths, H100, rates) for rows in (1, 16)
    ]
    assert 10 < found[1] / found[0] <= 16


def test_an_update_pays_for_references_old_policies_and_its_share_of_a_round() -> None:
    """Reference and old policy forward once each, a third of forward and backward; a round feeds four updates."""
    rates = Rates(mfu=1e-6, bandwidth_share=1e9, launch_s=0.0)
    work = Workload("grpo", reference="copy", completion_length=8, prompt_length=8, generation_rows=4)
    full = job(work, old_logprobs=1.0, rounds_per_update=0.25, decoded=4.0)
    lengths = Lengths(16, 8, 8, 8)
    spent = update_seconds(small(), full, lengths, H100, rates)
    assert spent["logprobs"] == pytest.approx(spent["forward_backward"] * 2 / 3)
    assert spent["generate"] == pytest.approx(decode_seconds(small(), full, lengths, H100, rates, 4.0) / 4)


def test_a_prompt_that_runs_once_for_its_group_costs_once() -> None:
    rates = Rates(mfu=1e-6, bandwidth_share=1e9, launch_s=0.0)
    work = Workload("grpo", device="cpu", micro_batch=8, completion_length=8, prompt_length=64, trained_share=8 / 72)
    lengths = Lengths(72, 64, 8, 8)
    each, once = (
        update_seconds(small(), job(replace(work, contexts=contexts)), lengths, H100, rates)["forward_backward"]
        for contexts in (None, 1)
    )
    assert 0.2 < once / each < 0.3  # 64 + 8 x 8 tokens in place of 8 x 72; as many reach the head


@pytest.mark.parametrize(("zero_stage", "share"), [(0, 1), (1, 4), (3, 4)])
def test_zero_shares_the_optimizer_step_among_the_ranks(zero_stage: int, share: int) -> None:
    rates = Rates(1.0, 1.0, 0.0)
    work = Workload("sft", ranks=4, zero_stage=zero_stage, sequence_length=8)
    spent = update_seconds(small(), job(work), Lengths(8, 0, 0, 0), H100, rates)["optimizer"]
    assert spent == pytest.approx(28 * 1992 / share / 3350e9)


def test_r1_zero_pace_an_update_and_a_round() -> None:
    """DeepSeek-R1-Zero: 10,400 updates in 198 h; a round of 8,192 answers feeds 16 updates of 512."""
    pace = Pace.of_total(198 * 3600, updates=10_400, updates_per_round=16)
    assert round(pace.update_s, 1) == 68.5
    assert round(pace.round_s / 60, 1) == 18.3
    assert pace.total_s == pytest.approx(198 * 3600)


def test_a_range_scales_as_a_whole() -> None:
    assert Range(1, 2, 4).times(0.5) == Range(0.5, 1, 2)
