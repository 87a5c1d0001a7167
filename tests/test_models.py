"""Templates and special tokens: a chain of stages keeps them, and what is missing is named."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from data.errors import UserError
from tests.tiny_models import make_model
from training.config.chat_templates import chat_template_path
from training.models import (
    check_unchanged_template,
    eos_ids,
    load_policy,
    load_tokenizer,
    save_policy,
    special_tokens,
    template_sha256,
)

CHAT = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]


def test_shipped_chatml_renders_turns_and_generation_prompt(tiny_model: Path) -> None:
    path = chat_template_path("chatml")
    assert path is not None
    tokenizer = load_tokenizer(tiny_model, str(path))
    whole = tokenizer.apply_chat_template(CHAT, tokenize=False)
    assert whole == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello<|im_end|>\n"
    prompt = tokenizer.apply_chat_template(CHAT[:1], tokenize=False, add_generation_prompt=True)
    assert prompt == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert whole.startswith(prompt)


def test_another_template_than_the_parents_is_refused_unless_meant(tiny_model: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model)
    facts = {"template_sha256": template_sha256(tokenizer), "special_tokens": special_tokens(tokenizer)}
    parent = {"stage": "sft", **facts}
    check_unchanged_template(parent, tokenizer, allowed=False)
    other = tmp_path / "other.jinja"
    other.write_text("{{ messages[0]['content'] }}")
    changed = load_tokenizer(tiny_model, str(other))
    with pytest.raises(UserError, match=r"template_sha256.*allow_template_change"):
        check_unchanged_template(parent, changed, allowed=False)
    check_unchanged_template(parent, changed, allowed=True)
    tokenizer.eos_token = "<|endoftext|>"
    with pytest.raises(UserError, match="special_tokens"):
        check_unchanged_template(parent, tokenizer, allowed=False)


def test_every_end_token_of_tokenizer_and_generation_config_ends_a_completion(tiny_model: Path) -> None:
    model, tokenizer = load_policy(tiny_model), load_tokenizer(tiny_model)
    model.generation_config.eos_token_id = [0, 2]
    assert eos_ids(model, tokenizer) == {0, 2}


def test_stored_half_precision_is_loaded_as_float32_masters(tiny_model: Path, tmp_path: Path) -> None:
    load_policy(tiny_model, "bfloat16").save_pretrained(tmp_path)
    assert {p.dtype for p in load_policy(tmp_path).parameters()} == {load_policy(tiny_model).dtype}


def test_saving_in_half_precision_leaves_the_model_in_training_as_it_was(tiny_model: Path, tmp_path: Path) -> None:
    model, tokenizer = load_policy(tiny_model), load_tokenizer(tiny_model)
    before = model.config.to_dict()
    save_policy(model, model.state_dict(), tokenizer, tmp_path, "bfloat16")
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert model.config.to_dict() == before


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_tied_weights_are_saved_once_in_every_dtype(tiny_model: Path, tmp_path: Path, tied: bool, dtype: str) -> None:
    model = make_model("qwen2", tie_word_embeddings=tied)
    save_policy(model, model.state_dict(), load_tokenizer(tiny_model), tmp_path, dtype)
    with safe_open(str(tmp_path / "model.safetensors"), framework="pt") as file:
        names = set(file.keys())
    expected = set(model.state_dict()) - ({"lm_head.weight"} if tied else set())
    assert names == expected
    saved = load_policy(tmp_path).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(saved[name], value.to(getattr(torch, dtype)).float()), name
