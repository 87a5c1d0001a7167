"""GGUF files: written by us, read back by transformers, compared with the model they were written from."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter

from data.errors import UserError
from tests import gguf_models
from training.export import gguf_tensors
from training.export.gguf_check import TOLERANCE, NotTheSame, check_gguf
from training.export.gguf_tensors import interleaved, require_architecture, tensor_type, write_gguf
from training.export.gguf_tokenizer import SPLITS, pre_tokenizer_name, token_table
from training.models import load_gguf


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return gguf_models.tokenizer()


@pytest.mark.parametrize(
    ("kind", "config"),
    [
        ("llama", {"tie_word_embeddings": True}),
        (
            "llama",
            {
                "tie_word_embeddings": False,
                "attention_bias": True,
                "rope_parameters": {"rope_type": "default", "rope_theta": 5e5},
            },
        ),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 32}),
    ],
)
def test_a_file_read_back_is_the_model(kind: str, config: dict, tokenizer: Any, tmp_path: Path) -> None:
    """f16 loses less than a thousandth of a nat, whichever the architecture, heads, biases and tied embeddings."""
    model = gguf_models.model(kind, **config)
    path = write_gguf(model, tokenizer, tmp_path, "f16", "demo")
    cost = check_gguf(path, "f16", model, tokenizer)
    assert cost["mean_kl"] < 1e-4
    assert cost["same_top_token"] > 0.95


def test_a_model_loaded_from_a_file_has_the_heads_that_the_file_says(tokenizer: Any, tmp_path: Path) -> None:
    """Qwen 3's heads are 32 wide here, though 4 of them of a hidden size of 64 would be 16, and transformers says 128:
    whoever loads the file (`posttrain chat`) gets logits of the model."""
    model = gguf_models.model("qwen3", head_dim=32)
    path = write_gguf(model, tokenizer, tmp_path, "f16", "demo")
    ids = tokenizer("the answer", return_tensors="pt").input_ids
    with torch.no_grad():
        torch.testing.assert_close(load_gguf(path).eval()(ids).logits, model(ids).logits, atol=0.05, rtol=0)


def test_a_file_without_the_width_of_its_heads_is_found(
    tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = gguf_models.model("qwen3", head_dim=32)
    monkeypatch.setattr(GGUFWriter, "add_key_length", lambda self, length: None)
    path = write_gguf(model, tokenizer, tmp_path, "f16", "demo")
    with pytest.raises(NotTheSame, match="the file says head_dim 128, the model 32"):
        check_gguf(path, "f16", model, tokenizer)


def test_fewer_bits_cost_more_and_each_type_stays_within_its_tolerance(tokenizer: Any, tmp_path: Path) -> None:
    model = gguf_models.model("llama", tie_word_embeddings=False)
    costs, sizes = {}, {}
    for wanted in TOLERANCE:
        path = write_gguf(model, tokenizer, tmp_path, wanted, "demo")
        costs[wanted] = check_gguf(path, wanted, model, tokenizer)["mean_kl"]
        sizes[wanted] = path.stat().st_size
    assert costs["f16"] < costs["q8_0"] < min(costs["q4_1"], costs["q4_0"])
    assert sizes["f16"] > sizes["q8_0"] > sizes["q4_1"] > sizes["q4_0"]


def test_rows_in_the_wrong_order_are_found(tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Llama file without the change of places in its query and key rows is another model."""
    model = gguf_models.model("llama")
    monkeypatch.setattr(gguf_tensors, "interleaved", lambda rows, name, config: rows)
    path = write_gguf(model, tokenizer, tmp_path, "f16", "demo")
    with pytest.raises(NotTheSame, match="nats a token"):
        check_gguf(path, "f16", model, tokenizer)


def test_llama_rows_change_places_within_each_head() -> None:
    """Two heads of four rows: halves 0 1 | 2 3 become 0 2 1 3, and 4 5 | 6 7 become 4 6 5 7."""
    rows = np.arange(8.0)[:, None]
    config = SimpleNamespace(num_attention_heads=4, num_key_value_heads=2)
    moved = interleaved(rows, "model.layers.0.self_attn.k_proj.weight", config)
    assert moved[:, 0].tolist() == [0, 2, 1, 3, 4, 6, 5, 7]
    assert interleaved(rows, "model.layers.0.self_attn.v_proj.weight", config) is rows


def test_types_of_weights() -> None:
    """Vectors stay float32, rows that are no whole blocks f16, and the tables keep 8 bits where others have 4."""
    names = {
        ("blk.0.attn_norm.weight", (64,), "q4_0"): "F32",
        ("blk.0.ffn_up.weight", (128, 64), "q4_0"): "Q4_0",
        ("blk.0.ffn_up.weight", (128, 40), "q4_0"): "F16",
        ("token_embd.weight", (300, 64), "q4_1"): "Q8_0",
        ("output.weight", (300, 64), "f16"): "F16",
    }
    assert {case: tensor_type(*case).name for case in names} == names


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({"model_type": "mixtral"}, "the architecture mixtral cannot be written; llama, qwen2, qwen3 can"),
        ({"model_type": "qwen2", "use_sliding_window": True}, "use_sliding_window"),
        ({"model_type": "llama", "hidden_act": "gelu"}, "hidden_act gelu"),
        ({"model_type": "llama", "rope_parameters": {"rope_type": "llama3"}}, "rope scaling of type llama3"),
        ({"model_type": "llama", "rope_scaling": {"type": "linear", "factor": 2}}, "rope scaling of type linear"),
    ],
)
def test_what_gguf_cannot_hold_is_refused_by_name(config: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        require_architecture(config, "export")


def byte_level(**changes: Any) -> dict[str, Any]:
    bpe = {"type": "BPE", "merges": ["a b"], "vocab": {"a": 0, "b": 1, "ab": 2}}
    return {
        "model": bpe,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
    } | changes


def split(pattern: str) -> dict[str, Any]:
    steps = [
        {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False},
        {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
    ]
    return {"type": "Sequence", "pretokenizers": steps}


def test_how_text_is_split_has_the_name_that_llama_cpp_knows_it_by() -> None:
    digits = {"type": "Digits", "individual_digits": True}
    last = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}
    assert pre_tokenizer_name(byte_level()) == "gpt-2"
    assert (
        pre_tokenizer_name(byte_level(pre_tokenizer={"type": "Sequence", "pretokenizers": [digits, last]})) == "smollm"
    )
    for name, pattern in SPLITS.items():
        assert pre_tokenizer_name(byte_level(pre_tokenizer=split(pattern))) == name


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pre_tokenizer": split(r"\w+")}, "no name that we know"),
        ({"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}}, "no name that we know"),
        ({"model": {"type": "BPE", "byte_fallback": True, "merges": ["a b"]}}, "SentencePiece"),
        ({"model": {"type": "Unigram"}}, "Unigram"),
        ({"model": {"type": "BPE", "merges": []}}, "has no merges"),
        ({"normalizer": {"type": "Lowercase"}}, "changes text first"),
    ],
)
def test_a_tokenizer_that_gguf_has_no_word_for_is_refused(changes: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        pre_tokenizer_name(byte_level(**changes))


def test_every_token_has_its_kind_and_ids_without_one_are_unused() -> None:
    """Kinds by GGUF: 1 normal, 3 control, 4 user-defined, 5 unused."""
    added = [{"id": 3, "content": "<end>", "special": True}, {"id": 5, "content": "<think>", "special": False}]
    tokens, kinds = token_table(byte_level(added_tokens=added), 7)
    assert tokens == ["a", "b", "ab", "<end>", "[PAD4]", "<think>", "[PAD6]"]
    assert kinds == [1, 1, 1, 3, 5, 4, 5]
    with pytest.raises(UserError, match="the tokenizer has 6 tokens, the model only 4"):
        token_table(byte_level(added_tokens=added), 4)
