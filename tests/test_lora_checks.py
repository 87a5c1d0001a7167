"""The rule that compares an adapter's rank with the matrices: it speaks only where it knows all of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from training.config import ConfigError, load_pipeline

SIZES: dict[str, Any] = {
    "model_type": "llama", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 1,
    "hidden_size": 64, "intermediate_size": 160, "vocab_size": 150, "max_position_embeddings": 128,
    "tie_word_embeddings": False,
}  # fmt: skip
"""k_proj is 64 x 16, so of rank 16; of the others none is above 64."""
EXPERTS = {"model_type": "mixtral", "num_local_experts": 4, "num_experts_per_tok": 2}


def load_with(folder: Path, config: dict[str, Any], lora: dict[str, Any]) -> None:
    """Load a pipeline that trains adapters on a model of `config`."""
    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps(config))
    (folder / "rows.jsonl").write_text(json.dumps({"prompt": "How?", "completion": "So."}) + "\n")
    stage = {"name": "sft", "kind": "sft", "batch_size": 4, "data": {"path": str(folder / "rows.jsonl")}, "lora": lora}
    content = {"name": "adapted", "model": str(model), "stages": [stage | {"trainer": {"max_steps": 1}}]}
    (folder / "demo.yaml").write_text(json.dumps(content))
    load_pipeline(folder / "demo.yaml")


@pytest.mark.parametrize(
    ("changes", "lora"),
    [
        ({}, {"r": 64}),
        ({}, {"r": 16, "target_modules": ["k_proj"]}),
        ({}, {"r": 32, "target_modules": ["k_proj", "lm_head"]}),
        ({}, {"r": 32, "target_modules": ["k_proj", "self_attn.q_proj"]}),
        (EXPERTS, {"r": 100, "target_modules": ["gate_proj"]}),
        (EXPERTS | {"num_experts_per_tok": None, "decoder_sparse_step": "two"}, {"r": 16}),
        ({"head_dim": "wide"}, {"r": 16}),
    ],
)
def test_ranks_that_some_matrix_may_have_pass(changes: dict[str, Any], lora: dict[str, Any], tmp_path: Path) -> None:
    load_with(tmp_path, SIZES | changes, lora)


@pytest.mark.parametrize(("lora", "most"), [({"r": 65}, 64), ({"r": 17, "target_modules": ["k_proj", "v_proj"]}, 16)])
def test_a_rank_above_those_of_all_matrices_is_refused(lora: dict[str, Any], most: int, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"above the rank of every matrix that it adapts; use 1 to {most} "):
        load_with(tmp_path, SIZES, lora)
