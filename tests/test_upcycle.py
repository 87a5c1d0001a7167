"""Upcycling: which weights become which expert, what the model computes at the start, what the router can learn."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from data.errors import UserError
from tests.tiny_models import SIZES, load, logits, write_model
from training.surgery.configs import upcycled_config
from training.surgery.upcycle import expert_tensors, upcycle


def block(**changes: Any) -> SimpleNamespace:
    fields: dict[str, Any] = {"experts": 4, "experts_per_token": 2, "shared_experts": 1, "dense_layers": 0}
    return SimpleNamespace(**fields | {"expert_noise": 0.0, "save_dtype": None} | changes)


def made(folder: Path, model_type: str = "llama", config: dict[str, Any] | None = None, **changes: Any) -> Path:
    source = write_model(folder / "dense", model_type, **config or {})
    upcycle(source, folder / "experts", block(**changes), seed=5)
    return folder


@pytest.mark.parametrize("model_type", ["llama", "mistral", "qwen2", "qwen3"])
def test_experts_compute_what_the_dense_model_did(model_type: str, tmp_path: Path) -> None:
    made(tmp_path, model_type, {"sliding_window": None} if model_type == "mistral" else {})
    experts = load(tmp_path / "experts")
    assert experts.config.model_type == "glm4_moe"
    difference = (logits(experts) - logits(load(tmp_path / "dense"))).abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize(
    ("config", "changes"),
    [
        ({"tie_word_embeddings": True}, {"experts": 8, "experts_per_token": 3}),
        ({"rope_parameters": {"rope_type": "default", "rope_theta": 500.0}}, {"shared_experts": 2, "dense_layers": 3}),
        ({"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, {"dense_layers": 1}),
        ({"num_key_value_heads": 4, "rms_norm_eps": 1e-3}, {"experts_per_token": 1}),
    ],
)
def test_any_number_of_experts_and_any_dense_layers_compute_the_same(
    config: dict[str, Any], changes: dict[str, Any], tmp_path: Path
) -> None:
    made(tmp_path, "llama", config, **changes)
    experts = load(tmp_path / "experts")
    assert (logits(experts) - logits(load(tmp_path / "dense"))).abs().max() < 1e-5
    dense = changes.get("dense_layers", 0)
    assert [hasattr(layer.mlp, "gate") for layer in experts.model.layers] == [False] * dense + [True] * (4 - dense)


def test_rotary_settings_of_an_old_config_are_kept(tmp_path: Path) -> None:
    source = write_model(tmp_path / "dense", "llama")
    config = json.loads((source / "config.json").read_text())
    del config["rope_parameters"]
    config |= {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 4.0}}
    (source / "config.json").write_text(json.dumps(config))
    upcycle(source, tmp_path / "experts", block(), seed=5)
    dense, experts = load(source), load(tmp_path / "experts")
    assert dense.config.rope_parameters["rope_type"] == experts.config.rope_parameters["rope_type"] == "linear"
    assert (logits(experts) - logits(dense)).abs().max() < 1e-5


def test_parts_of_a_projection_by_hand() -> None:
    """Width 6 with two shared experts: hidden units 0 to 3 are shared, 4 and 5 are every expert's."""
    weight = torch.arange(12.0).reshape(6, 2)
    parts = dict(expert_tensors("model.layers.0.mlp.up_proj.weight", weight, block(experts=2, shared_experts=2), 0))
    assert parts["model.layers.0.mlp.shared_experts.up_proj.weight"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    for expert in (0, 1):
        assert parts[f"model.layers.0.mlp.experts.{expert}.up_proj.weight"].tolist() == [[8, 9], [10, 11]]
    down = dict(expert_tensors("model.layers.0.mlp.down_proj.weight", weight.T, block(experts=2, shared_experts=2), 0))
    assert down["model.layers.0.mlp.experts.1.down_proj.weight"].tolist() == [[8, 10], [9, 11]]


def test_noise_is_the_share_of_the_weights_spread_and_the_same_for_a_seed(tmp_path: Path) -> None:
    weight = torch.randn(400, 50, generator=torch.Generator().manual_seed(0)) * 3
    noisy = dict(expert_tensors("x.up_proj.weight", weight, block(expert_noise=0.1), seed=1))
    again = dict(expert_tensors("x.up_proj.weight", weight, block(expert_noise=0.1), seed=1))
    other = dict(expert_tensors("x.up_proj.weight", weight, block(expert_noise=0.1), seed=2))
    first = noisy["x.experts.0.up_proj.weight"]
    assert (first - weight[200:]).std().item() == pytest.approx(0.3, rel=0.05)
    assert torch.equal(first, again["x.experts.0.up_proj.weight"])
    assert not torch.equal(first, other["x.experts.0.up_proj.weight"])
    assert not torch.equal(first, noisy["x.experts.1.up_proj.weight"])
    assert torch.equal(noisy["x.shared_experts.up_proj.weight"], weight[:200])


def router_gradient(folder: Path, noise: float) -> float:
    made(folder, expert_noise=noise)
    model = load(folder / "experts")
    ids = torch.randint(3, 259, (4, 16), generator=torch.Generator().manual_seed(3))
    model(ids, labels=ids).loss.backward()
    return max(layer.mlp.gate.weight.grad.norm().item() for layer in model.model.layers)


def test_router_has_a_gradient_only_between_experts_that_differ(tmp_path: Path) -> None:
    none, some = router_gradient(tmp_path / "a", 0.0), router_gradient(tmp_path / "b", 0.02)
    assert none < 1e-6
    assert some > 1000 * none


def test_selection_bias_is_float32_whatever_the_weights_are(tmp_path: Path) -> None:
    made(tmp_path, save_dtype="bfloat16")
    weights = load_file(tmp_path / "experts" / "model.safetensors")
    kinds = {tensor.dtype for name, tensor in weights.items() if not name.endswith("e_score_correction_bias")}
    assert kinds == {torch.bfloat16}
    assert weights["model.layers.0.mlp.gate.e_score_correction_bias"].dtype == torch.float32


@pytest.mark.parametrize(
    ("config", "changes", "told"),
    [
        ({"model_type": "gemma"}, {}, "models of type 'gemma' cannot be upcycled; known are llama, mistral, qwen2"),
        ({"intermediate_size": 49}, {}, "cuts the feed-forward block's width 49 into 2 parts; use 6"),
        ({}, {"dense_layers": 4}, "dense_layers: 4 of 4 layers"),
        ({"mlp_bias": True}, {}, "biases"),
        ({"model_type": "qwen3", "attention_bias": True}, {}, "biases"),
        ({"model_type": "mistral", "sliding_window": 64}, {}, "sliding window"),
    ],
)
def test_what_cannot_be_upcycled_is_refused(config: dict[str, Any], changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UserError) as caught:
        upcycled_config({**SIZES, "model_type": "llama", **config}, block(**changes))
    assert told in str(caught.value)
