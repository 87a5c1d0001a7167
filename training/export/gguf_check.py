"""Is a GGUF file the model it was written from? Read it back with transformers and compare.

Compared are the tokens of some texts, the numbers of the config, and the next-token distributions: the mean KL
divergence from the original's to the file's, over every position of the texts. What the type of the weights costs is
real and stands in the record; a divergence beyond its tolerance means that the file holds another model.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

TOLERANCE = {"f16": 1e-3, "q8_0": 2e-2, "q4_1": 1.0, "q4_0": 1.5}
"""Greatest mean KL a token, in nats; docs/export.md has what was measured."""

CONFIG = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
TEXTS = (
    "What is 17 + 25? The answer is 42.",
    "def area(width, height):\n    return width * height  # 3.5 x 2",
    "Zürich, 東京 and Пермь lie in three countries; it's 12:30 there, isn't it?",
)


class NotTheSame(Exception):
    """A file that was just written does not hold the model it was written from: our mistake, never the user's."""


def check_gguf(path: Path, wanted: str, model: Any, tokenizer: Any) -> dict[str, Any]:
    """Return what the file's type costs: mean_kl (nats a token), max_logit_difference, same_top_token (share).

    Raises NotTheSame when tokens or config differ, or mean_kl exceeds the type's tolerance.
    """
    import torch
    from transformers import AutoTokenizer

    from training.models import gguf_config, load_gguf

    where = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    texts = [*TEXTS, prompt_text(tokenizer)]
    check_tokens(AutoTokenizer.from_pretrained(**where), tokenizer, texts)
    check_config(gguf_config(path), model.config)
    read = load_gguf(path).eval()
    encoded = [tokenizer(text, add_special_tokens=False, return_tensors="pt").input_ids for text in texts]
    with torch.no_grad():
        pairs = [(model(ids).logits[0].float(), read(ids).logits[0].float()) for ids in encoded]
    cost = {**distances(pairs), "tolerance": TOLERANCE[wanted]}
    if not cost["mean_kl"] <= TOLERANCE[wanted]:
        found, limit = cost["mean_kl"], TOLERANCE[wanted]
        raise NotTheSame(f"{path.name}: read back, it is {found:.3g} nats a token from the model; the limit is {limit}")
    return cost


def distances(pairs: list[tuple["torch.Tensor", "torch.Tensor"]]) -> dict[str, float]:
    """The distance of logits (T, V) from the original's, over all positions of all pairs (original, file)."""
    import torch

    ours, theirs = (torch.cat([pair[side] for pair in pairs]) for side in (0, 1))
    logs, read = ours.log_softmax(-1), theirs.log_softmax(-1)
    return {
        "mean_kl": float((logs.exp() * (logs - read)).sum(-1).mean().clamp_min(0)),
        "max_logit_difference": float((ours - theirs).abs().max()),
        "same_top_token": float((ours.argmax(-1) == theirs.argmax(-1)).float().mean()),
    }


def prompt_text(tokenizer: Any) -> str:
    """A short chat in the tokenizer's template, so that the special tokens are compared too."""
    chat = [{"role": "user", "content": "Name 3 primes."}]
    return str(tokenizer.apply_chat_template(chat, tokenize=False, add_generation_prompt=True))


def check_tokens(read: Any, tokenizer: Any, texts: list[str]) -> None:
    """Raise NotTheSame unless both tokenizers cut every text alike and have the same template and end of text."""
    for text in texts:
        mine, theirs = (each(text, add_special_tokens=False).input_ids for each in (tokenizer, read))
        if mine != theirs:
            raise NotTheSame(f"the file's tokenizer cuts {text!r} into {theirs}, the model's into {mine}")
    for name in ("chat_template", "eos_token", "bos_token"):
        if getattr(read, name) != getattr(tokenizer, name):
            raise NotTheSame(
                f"the file's tokenizer has {name} {getattr(read, name)!r}, not {getattr(tokenizer, name)!r}"
            )


def check_config(read: Any, config: Any) -> None:
    """Raise NotTheSame unless the numbers that transformers reads from the file are the model's."""
    pairs = {
        name: (getattr(read, name), getattr(config, name)) for name in (*CONFIG, "vocab_size", "tie_word_embeddings")
    }
    pairs["head_dim"] = (getattr(read, "head_dim", None), getattr(config, "head_dim", None))
    pairs["rope_theta"] = (read.rope_parameters["rope_theta"], config.rope_parameters["rope_theta"])
    for name, (found, wanted) in pairs.items():
        if found != wanted:
            raise NotTheSame(f"the file says {name} {found}, the model {wanted}")
    if abs(read.rms_norm_eps - config.rms_norm_eps) > 1e-3 * config.rms_norm_eps:
        raise NotTheSame(f"the file says rms_norm_eps {read.rms_norm_eps}, the model {config.rms_norm_eps}")
