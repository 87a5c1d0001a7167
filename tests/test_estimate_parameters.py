"""Parameter counts, exact: against transformers' own modules on the meta device, and against published totals."""

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import CONFIG_MAPPING, AutoModelForCausalLM

from training.estimate.adapters import adapter_parameters
from training.estimate.families import FAMILIES
from training.estimate.parameters import count
from training.estimate.published import KNOWN
from training.estimate.shape import shape_of
from training.estimate.workload import Adapters

FEW_LAYERS = {"num_hidden_layers": 3}
VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("llama", {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True, "head_dim": 96}),
    ("mistral", {"head_dim": 128, "hidden_size": 1024}),
    ("phi", {"qk_layernorm": True}),
    ("starcoder2", {"use_bias": False}),
    ("glm4_moe", {"use_qk_norm": True, "attention_bias": True}),
    ("deepseek_v2", {"q_lora_rank": None, "first_k_dense_replace": 1, "num_experts_per_tok": 6}),
    ("deepseek_v3", {"attention_bias": True, "first_k_dense_replace": 2}),
    ("qwen3_moe", {"mlp_only_layers": [0], "decoder_sparse_step": 1}),
    ("qwen2_moe", {"decoder_sparse_step": 2, "qkv_bias": False}),
]


def on_meta(model_type: str, **keys: Any) -> Any:
    """transformers' model without memory."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**keys))


def numel(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("model_type", FAMILIES)
def test_count_defaults_of_every_family_equal_transformers_modules(model_type: str) -> None:
    """Three layers are enough: layers of a kind are alike, and DeepSeek's first dense ones are among the variants."""
    keys = FEW_LAYERS | ({"num_experts_per_tok": 2} if model_type == "deepseek_v2" else {})
    assert count(shape_of({"model_type": model_type, **keys})).total == numel(on_meta(model_type, **keys))


@pytest.mark.parametrize(("model_type", "keys"), VARIANTS)
def test_count_variants_of_a_family_equal_transformers_modules(model_type: str, keys: dict[str, Any]) -> None:
    keys = FEW_LAYERS | keys
    assert count(shape_of({"model_type": model_type, **keys})).total == numel(on_meta(model_type, **keys))


@pytest.mark.parametrize("name", ["qwen2.5-0.5b", "llama-3.2-1b", "gemma-3-1b", "qwen3-30b-a3b", "deepseek-v2-lite"])
def test_count_published_models_equal_transformers_modules(name: str) -> None:
    config = dict(KNOWN[name])
    assert count(shape_of(config)).total == numel(on_meta(config.pop("model_type"), **config))


PUBLISHED_TOTALS = {
    "smollm2-135m": 134_515_008,
    "qwen2.5-7b": 7_615_616_512,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-405b": 405_853_388_800,
    "mistral-7b-v0.1": 7_241_732_096,
    "mixtral-8x7b-v0.1": 46_702_792_704,
    "gemma-2-9b": 9_241_705_984,
    "phi-4": 14_659_507_200,
    "qwen3-235b-a22b": 235_093_634_560,
    "deepseek-v2-lite": 15_706_484_224,
    "deepseek-v3": 671_026_419_200 - 58 * 256,
}
"""Numbers of the checkpoints as their hub pages count them. DeepSeek-V3's also holds 58 x 256 router biases, which
transformers counts as buffers."""


@pytest.mark.parametrize("name", PUBLISHED_TOTALS)
def test_count_published_models_have_their_published_totals(name: str) -> None:
    assert count(shape_of(KNOWN[name])).total == PUBLISHED_TOTALS[name]


def test_count_of_every_published_model_lies_between_its_neighbours_in_size() -> None:
    """The table's range is the issue's: 0.5B to 671B (two smaller ones beside it)."""
    totals = [count(shape_of(config)).total for config in KNOWN.values()]
    assert min(totals) == PUBLISHED_TOTALS["smollm2-135m"]
    assert max(totals) == PUBLISHED_TOTALS["deepseek-v3"]


def test_count_tied_model_has_no_head_of_its_own() -> None:
    tied, untied = (count(shape_of(KNOWN["llama-3.2-1b"] | {"tie_word_embeddings": tied})) for tied in (True, False))
    assert tied.lm_head == 0
    assert untied.lm_head == untied.embedding == 128_256 * 2048
    assert untied.total - tied.total == untied.lm_head


def test_count_active_leaves_out_experts_that_a_token_is_not_routed_to() -> None:
    """Mixtral routes to 2 of 8 experts of 3 x 4096 x 14336 numbers in each of 32 layers."""
    mixtral = count(shape_of(KNOWN["mixtral-8x7b-v0.1"]))
    assert mixtral.expert == 3 * 4096 * 14336
    assert mixtral.total - mixtral.active == 32 * 6 * mixtral.expert


@pytest.mark.parametrize(
    "model_type", ["llama", "phi", "phi3", "starcoder2", "glm4", "qwen2_moe", "mixtral", "deepseek_v3"]
)
def test_adapter_parameters_of_all_linear_equal_pefts(model_type: str) -> None:
    keys = FEW_LAYERS | {"num_hidden_layers": 4}
    adapted = get_peft_model(on_meta(model_type, **keys), LoraConfig(r=8, target_modules="all-linear"))
    trained = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    assert adapter_parameters(shape_of({"model_type": model_type, **keys}), Adapters(8)) == trained


def test_adapter_parameters_of_named_modules_count_those_alone() -> None:
    """Rank 4 on q_proj (576 -> 576) and v_proj (576 -> 192) of 30 layers."""
    shape = shape_of(KNOWN["smollm2-135m"])
    assert adapter_parameters(shape, Adapters(4, ("q_proj", "v_proj"))) == 30 * 4 * (576 + 576 + 576 + 192)
