"""Small random models with a byte-level tokenizer that has merges, as GGUF needs them."""

from pathlib import Path
from typing import Any

from training.bundled import TINY_TEMPLATE

TEXT = ["the answer to the question is a number and the number is the answer"] * 4
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def tokenizer(pre: Any = None) -> Any:
    """A byte-level BPE of some 300 tokens trained on a sentence; `pre` replaces how it splits text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre or pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(TEXT, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token=SPECIAL[1], eos_token=SPECIAL[2], pad_token=SPECIAL[0]
    )
    made.chat_template = TINY_TEMPLATE
    return made


def model(kind: str, vocab_size: int = 300, **config: Any) -> Any:
    """A two-layer float32 model of an architecture (llama, qwen2, qwen3), wide enough for blocks of 32 weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = {
        "vocab_size": vocab_size,
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    torch.manual_seed(3)
    made = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(sizes | config)), dtype=torch.float32)
    for parameter in made.parameters():  # the initial 0.02 gives flat distributions, in which nothing could differ
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.15)
    made.generation_config.eos_token_id = 2
    return made.eval()


def save(folder: Path, kind: str = "llama", **config: Any) -> Path:
    """Write such a model with its tokenizer in transformers' format."""
    model(kind, **config).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder
