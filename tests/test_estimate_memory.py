"""Memory: published arithmetic, bytes counted against autograd's own saved tensors, and what each knob must do."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from training import head, shared_context
from training.estimate import activations
from training.estimate.activations import activation_bytes, forward_tokens, layer_bytes, logit_bytes
from training.estimate.cache import cache_bytes, cached_numbers
from training.estimate.known_models import find_config
from training.estimate.memory import PARTS, Memory, memory, trained_states
from training.estimate.published import KNOWN
from training.estimate.shape import shape_of
from training.estimate.states import zero_states
from training.estimate.workload import Adapters, Workload

LLAMA = shape_of(KNOWN["llama-3.1-8b"])
SMOL = shape_of(find_config("bundled:smollm2-135m-instruct"))
V3 = shape_of(KNOWN["deepseek-v3"])
SFT = Workload("sft", micro_batch=2, sequence_length=4096, compute_dtype="bfloat16", ranks=8, zero_stage=2)
GRPO = replace(
    SFT, kind="grpo", prompt_length=1024, completion_length=3072, generation_rows=64, trained_share=0.75, zero_stage=3
)


def parts(estimate: Memory, phase: str) -> dict[str, float]:
    """The parts of a phase by name."""
    return dict(next(found.parts for found in estimate.phases if found.name == phase))


@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_zero_states_of_7_5_billion_on_64_ranks_equal_the_papers_figure_1(stage: int, gigabytes: float) -> None:
    """2 + 2 + 12 bytes: 16 x 7.5 = 120; 4 x 7.5 + 12 x 7.5 / 64 = 31.4; 2 x 7.5 + 14 x 7.5 / 64 = 16.6; 120 / 64."""
    assert zero_states(7.5e9, ranks=64, stage=stage).total / 1e9 == pytest.approx(gigabytes, abs=0.05)


def test_trained_states_without_deepspeed_are_float32_masters_under_autocast_too() -> None:
    """4 + 4 + 8 bytes a number and nothing divided: 134,515,008 x 16."""
    for dtype in ("float32", "bfloat16"):
        states = trained_states(SMOL, Workload("sft", ranks=2, compute_dtype=dtype))
        assert (states.weights, states.gradients, states.optimizer) == (538_060_032, 538_060_032, 1_076_120_064)


@pytest.mark.parametrize(("ranks", "accumulation"), [(1, 4), (2, 1), (2, 4)])
def test_memory_holds_the_gradients_once(ranks: int, accumulation: int) -> None:
    """Under DDP with several micro-batches too: its buckets are the gradients."""
    workload = Workload("sft", ranks=ranks, accumulation=accumulation, micro_batch=1, sequence_length=64)
    assert parts(memory(SMOL, workload), "forward_backward")["gradients"] == 538_060_032


TINY: dict[str, Any] = {
    "hidden_size": 64, "intermediate_size": 160, "num_attention_heads": 4, "num_key_value_heads": 2,
    "vocab_size": 150, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
LATENT = {"q_lora_rank": 24, "kv_lora_rank": 16, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
ROWS, TOKENS = 2, 48


def saved_by_autograd(model_type: str, layers: int, workload: Workload, keys: dict[str, Any]) -> int:
    """Bytes of the tensors that a forward pass of `layers` layers saves, weights and their casts left out."""
    config = CONFIG_MAPPING[model_type](**TINY | keys, num_hidden_layers=layers)
    model = AutoModelForCausalLM.from_config(config, attn_implementation=workload.attention).train()
    if workload.zero_stage and workload.compute_dtype == "bfloat16":
        model = model.to(torch.bfloat16)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    casts = {shape for p in model.parameters() if p.dim() == 2 for shape in (p.shape, p.T.shape)}
    autocast = workload.compute_dtype == "bfloat16" and not workload.zero_stage
    saved: dict[int, tuple[int, torch.Tensor]] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights and (not autocast or tensor.shape not in casts):
            saved[storage.data_ptr()] = (storage.nbytes(), tensor)  # the tensor keeps its address from being reused
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=autocast),
    ):
        mask = torch.ones((ROWS, TOKENS), dtype=torch.long)
        mask[0, 30:] = 0
        kept = model.base_model(torch.randint(3, 150, (ROWS, TOKENS)), mask, use_cache=False)  # noqa: F841
    return sum(size for size, _ in saved.values())


@pytest.mark.parametrize(
    ("model_type", "keys", "changes", "tolerance"),
    [
        ("llama", {}, {}, 0.005),
        ("llama", {}, {"attention": "eager"}, 0.005),
        ("llama", {}, {"compute_dtype": "bfloat16"}, 0.005),
        ("llama", {}, {"compute_dtype": "bfloat16", "attention": "eager"}, 0.005),
        ("llama", {}, {"compute_dtype": "bfloat16", "zero_stage": 2}, 0.005),
        ("qwen3", {"head_dim": 16}, {}, 0.01),
        ("qwen3", {"head_dim": 16}, {"compute_dtype": "bfloat16", "zero_stage": 2}, 0.08),
        ("gemma2", {"head_dim": 16}, {"attention": "eager"}, 0.08),
        ("phi", {}, {}, 0.08),
        ("starcoder2", {}, {}, 0.01),
        ("olmo2", {}, {}, 0.01),
        ("mixtral", {"num_local_experts": 4}, {}, 0.02),
        ("deepseek_v3", LATENT | {"num_key_value_heads": 4, "first_k_dense_replace": 9}, {}, 0.02),
    ],
)
def test_layer_bytes_equal_what_autograd_saves(
    model_type: str, keys: dict[str, Any], changes: dict[str, Any], tolerance: float
) -> None:
    """Two layers more minus two layers: what one layer saves for a token, by the formula and by PyTorch's hooks; one of
    the two rows is padded."""
    workload = replace(
        Workload("sft", device="cpu", micro_batch=ROWS, sequence_length=TOKENS), **{"attention": "sdpa"} | changes
    )
    saved = [saved_by_autograd(model_type, layers, workload, keys) for layers in (2, 4)]
    shape = shape_of({"model_type": model_type, "num_hidden_layers": 2} | TINY | keys)
    sparse = shape.experts is not None and shape.experts.layers > 0
    measured = (saved[1] - saved[0]) / 2 / (ROWS * TOKENS)
    assert layer_bytes(shape, workload, sparse) == pytest.approx(measured, rel=tolerance)


def test_activation_bytes_under_checkpointing_are_layer_inputs_and_one_layer() -> None:
    """Korthikanti, section 5. bf16 under DeepSpeed: 2 bytes x hidden a layer and token, one layer whole, the ends."""
    tokens = 2 * 4096
    kept = tokens * (32 * 4096 * 2 + layer_bytes(LLAMA, SFT, sparse=False) + 4 * 4096 * 2)
    assert activation_bytes(LLAMA, replace(SFT, checkpointing=True)) == pytest.approx(kept)


def test_activation_bytes_grow_with_the_square_of_length_under_eager_attention_alone() -> None:
    def of(length: int, attention: Any) -> float:
        return activation_bytes(LLAMA, replace(SFT, micro_batch=1, sequence_length=length, attention=attention))

    assert of(65536, "sdpa") == pytest.approx(16 * of(4096, "sdpa"))
    assert of(65536, "eager") > 100 * of(4096, "eager")


def test_logit_bytes_of_a_tile_do_not_grow_with_length_and_full_logits_do() -> None:
    long = replace(SFT, sequence_length=65536)
    full = [logit_bytes(LLAMA, replace(workload, head="full")) for workload in (SFT, long)]
    assert full[1] - full[0] == 12 * 128_256 * 2 * (65536 - 4096)
    tile = [logit_bytes(LLAMA, workload) for workload in (SFT, long)]
    assert tile[1] - tile[0] == 4 * 4096 * 2 * (65536 - 4096)  # the hidden states' gradient alone


def test_tile_positions_are_those_of_the_head() -> None:
    assert activations.TILE_POSITIONS == head.TILE_POSITIONS


def test_cached_numbers_of_grouped_queries_latents_and_sliding_windows() -> None:
    """Llama: 2 x 8 heads x 128; DeepSeek-V3: 512 + 64; Gemma 3 1B: 22 of 26 layers stop at 512 tokens of 2 x 256."""
    assert cached_numbers(LLAMA, 1000) == 32 * 1000 * 2 * 8 * 128
    assert cached_numbers(V3, 1000) == 61 * 1000 * 576
    assert cached_numbers(shape_of(KNOWN["gemma-3-1b"]), 1000) == (4 * 1000 + 22 * 512) * 2 * 256


def test_cache_bytes_count_rows_decoded_together_in_the_compute_dtype() -> None:
    assert cache_bytes(LLAMA, GRPO) == pytest.approx(64 * cached_numbers(LLAMA, 4096) * 2 * 33 / 32)


def test_memory_zero_3_gathers_whole_weights_to_generate() -> None:
    gathered = parts(memory(LLAMA, GRPO), "generate")
    assert gathered["weights"] + gathered["autocast"] == pytest.approx(8_030_261_248 * 2)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_memory_each_zero_stage_divides_what_it_says(stage: int) -> None:
    weights, gradients, optimizer = (8_030_261_248 * size for size in (2, 2, 12))
    found = parts(memory(LLAMA, replace(SFT, zero_stage=stage)), "forward_backward")
    assert found["optimizer"] == optimizer / 8
    assert found["gradients"] == gradients / (8 if stage > 1 else 1)
    assert found["weights"] == weights / (8 if stage > 2 else 1)


def test_memory_offload_moves_optimizer_and_weights_to_the_host() -> None:
    here = memory(LLAMA, replace(SFT, zero_stage=3))
    away = memory(LLAMA, replace(SFT, zero_stage=3, offload_optimizer=True, offload_parameters=True))
    moved = parts(here, "forward_backward")["weights"] + parts(here, "forward_backward")["optimizer"]
    assert here.peak - away.peak == pytest.approx(moved)
    flat = 8_030_261_248 * 4 / 8  # ZeRO-Offload keeps this rank's gradients in float32 beside the optimizer
    assert away.phases[1].host == pytest.approx(moved + flat)


def test_memory_reference_is_a_copy_only_where_one_is_loaded() -> None:
    dpo = replace(SFT, kind="dpo", reference="copy")
    assert parts(memory(LLAMA, dpo), "forward_backward")["reference"] == 8_030_261_248 * 2
    for without in ("precomputed", "adapter_off", "none"):
        assert "reference" not in parts(memory(LLAMA, replace(dpo, reference=without)), "forward_backward")


def test_memory_qlora_keeps_4_bit_weights_and_trains_the_adapters_alone() -> None:
    """7.0 B linear weights at 4.127 bits, 1.05 B numbers of embedding and head at 32; 42 M trained numbers at 16 B."""
    states = trained_states(LLAMA, replace(SFT, ranks=1, zero_stage=0, lora=Adapters(16, quantized=True)))
    assert states.weights / 1e9 == pytest.approx(6.98e9 * 0.516 / 1e9 + 1.0507e9 * 4 / 1e9 + 0.042 * 4, rel=0.01)
    assert states.optimizer == 41_943_040 * 8


def test_memory_merging_an_adapter_takes_a_second_copy_of_the_parent_in_float32() -> None:
    """On a CPU after what training took was given back; on a GPU in the host's memory: 134,515,008 x 4."""
    merged = Workload("sft", device="cpu", micro_batch=2, sequence_length=16, lora=Adapters(16))
    whole = memory(SMOL, merged)
    training = parts(whole, "forward_backward")
    assert whole.peak_phase.name == "save"
    copied = sum(training[part] for part in ("framework", "weights", "optimizer")) + 538_060_032
    assert whole.peak == pytest.approx(copied)
    assert memory(SMOL, replace(merged, device="gpu")).phases[-1].host == 538_060_032
    adapter = replace(merged, lora=Adapters(16, merged=False))
    assert memory(SMOL, adapter).peak == pytest.approx(sum(training.values()))


def test_memory_of_671_billion_needs_sharding_to_fit_80_gb() -> None:
    whole = memory(V3, replace(SFT, zero_stage=1, ranks=512))
    split = memory(V3, replace(SFT, zero_stage=3, ranks=512, checkpointing=True, micro_batch=1))
    assert whole.peak > 2000e9
    assert parts(split, "forward_backward")["weights"] == pytest.approx(671.03e9 * 2 / 512, rel=1e-4)
    assert split.peak < 80e9


def test_memory_evaluation_has_no_gradients_and_its_parts_are_named() -> None:
    estimate = memory(
        SMOL, Workload("evaluate", device="cpu", prompt_length=100, completion_length=56, generation_rows=64)
    )
    assert [phase.name for phase in estimate.phases] == ["load", "generate"]
    assert set(parts(estimate, "generate")) == {"framework", "weights", "kv_cache", "logits", "slack"}
    assert set(PARTS) >= {part for phase in memory(LLAMA, GRPO).phases for part in phase.parts}


def test_prompts_that_a_group_shares_are_kept_once_unless_layers_see_a_window() -> None:
    work = Workload("grpo", device="cpu", micro_batch=8, sequence_length=300, prompt_length=256, completion_length=44)
    once = replace(work, contexts=1)
    assert forward_tokens(SMOL, work) == 8 * 300
    assert forward_tokens(SMOL, once) == 256 + 8 * 44
    assert forward_tokens(replace(SMOL, sliding_layers=2, sliding_window=64), once) == 8 * 300
    assert activation_bytes(SMOL, once) < 0.3 * activation_bytes(SMOL, work)
    short = replace(once, sequence_length=50, prompt_length=6)  # 6 + 8 x 44 of 8 x 50 tokens: sharing does not pay
    assert forward_tokens(SMOL, short) == 8 * 50
    assert activations.SHARING_PAYS == shared_context.WORTH_IT


def test_memory_packs_the_linear_layers_to_draw_in_float32_on_a_cpu_alone() -> None:
    """SmolLM2 ties its head, so the copy has all 134.5 M parameters; Llama's 0.53 B embedding is not multiplied."""
    rollouts = replace(GRPO, device="cpu", zero_stage=0, compute_dtype="float32", packs=True)
    assert parts(memory(SMOL, rollouts), "generate")["packed"] == 134_515_008 * 4
    assert parts(memory(LLAMA, rollouts), "generate")["packed"] == (8_030_261_248 - 128_256 * 4096) * 4
    for other in ({"packs": False}, {"zero_stage": 3}):
        assert "packed" not in parts(memory(SMOL, replace(rollouts, **other)), "generate")
    assert "packed" not in parts(memory(SMOL, rollouts), "forward_backward")


@pytest.mark.parametrize(
    ("model_type", "keys"),
    [
        ("mixtral", {"num_local_experts": 4}),
        ("qwen2_moe", {"num_experts": 4, "moe_intermediate_size": 32, "shared_expert_intermediate_size": 64}),
        ("deepseek_v3", LATENT | {"num_key_value_heads": 4, "n_routed_experts": 4, "first_k_dense_replace": 1}),
    ],
)
def test_memory_packs_what_is_a_linear_layer_in_a_mixture_of_experts(model_type: str, keys: dict[str, Any]) -> None:
    """Norms and the like, a few numbers a layer, are counted with them."""
    sizes = TINY | keys | {"num_hidden_layers": 2}
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**sizes))
    packed = sum(each.weight.numel() for each in model.modules() if type(each) is torch.nn.Linear)
    workload = replace(GRPO, device="cpu", zero_stage=0, compute_dtype="float32", packs=True)
    counted = parts(memory(shape_of({"model_type": model_type} | sizes), workload), "generate")["packed"]
    assert counted == pytest.approx(packed * 4, rel=0.02)


def test_memory_a_round_drawn_while_another_is_trained_takes_both_at_once() -> None:
    """And the weights of SmolLM2-135M in float32 once more: 134,515,008 x 4."""
    work = replace(GRPO, device="cpu", ranks=2, zero_stage=0, compute_dtype="float32")
    plain, ahead = memory(SMOL, work), memory(SMOL, replace(work, copies_policy=True))
    drawn, trained = parts(plain, "generate"), parts(plain, "forward_backward")
    both = parts(ahead, "forward_backward")
    assert both["weights"] == trained["weights"]
    assert both["sampler"] == parts(ahead, "optimizer")["sampler"] == 538_060_032
    assert both["kv_cache"] == drawn["kv_cache"] > 0
    assert both["logits"] == drawn["logits"] + trained["logits"]
    assert both["gradients"] == trained["gradients"]
