"""Tiny random models of several architectures, written as their owners publish them."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

SIZES: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}


def make_model(model_type: str, seed: int = 0, **changes: Any) -> PreTrainedModel:
    """A model with weights large enough that every layer shows in the logits."""
    config = AutoConfig.for_model(model_type, **SIZES | changes)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.08)
    return model.eval()


def write_model(folder: Path, model_type: str, seed: int = 0, shards: str = "100GB", **changes: Any) -> Path:
    """The folder of such a model, in shards of the size given."""
    make_model(model_type, seed, **changes).save_pretrained(folder, max_shard_size=shards)
    return folder


def add_tokenizer(folder: Path) -> Path:
    """Give a model's folder the tokenizer of the bundled tiny model, whose vocabulary has 259 entries."""
    from training.bundled import materialise
    from training.models import load_tokenizer

    load_tokenizer(materialise("tiny-random")).save_pretrained(str(folder))
    return folder


def load(folder: Path) -> PreTrainedModel:
    """The model in a folder; fails where a weight is missing or left over."""
    model, report = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    return model.eval()


def logits(model: PreTrainedModel, seed: int = 1) -> torch.Tensor:
    """Logits of two rows of twelve tokens."""
    ids = torch.randint(3, 259, (2, 12), generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        return model(ids).logits
