"""Load and save policies: base models, full artifacts and adapters all come back as one plain causal language model.

Weights load as float32 masters whatever dtype they were stored in (transformers 5 would keep the stored one), and a
folder's template and special tokens have a hash, because a chat template that drifts between stages costs a run.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

BASE_LINK = "base_model.json"  # in an adapter's folder: where the weights it belongs to lie, relative to it


def load_policy(folder: Path, dtype: str = "float32", attention: str | None = None) -> "PreTrainedModel":
    """Load the model in `folder`; an adapter is merged into its base, so that every stage trains a plain model."""
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    if (folder / "adapter_config.json").is_file():
        from peft import PeftModel

        base = load_policy(adapter_base(folder), dtype, attention)
        return PeftModel.from_pretrained(base, str(folder)).merge_and_unload()
    options: dict[str, Any] = {"dtype": getattr(torch, dtype), "local_files_only": True}
    if attention is not None:
        options["attn_implementation"] = attention
    return AutoModelForCausalLM.from_pretrained(str(folder), **options)


def load_gguf(path: Path, dtype: str = "float32") -> "PreTrainedModel":
    """Load the model in a GGUF file, dequantized."""
    import torch
    from transformers import AutoModelForCausalLM, GgufConfig

    return AutoModelForCausalLM.from_pretrained(
        str(path.parent),
        gguf_file=path.name,
        config=gguf_config(path),
        quantization_config=GgufConfig(dequantize=True),
        dtype=getattr(torch, dtype),
    )


def gguf_config(path: Path) -> Any:
    """The config in a GGUF file. transformers 5.23 does not read `attention.key_length` of Qwen 3, whose heads need not
    be hidden size / heads wide, and takes 128.
    """
    from gguf import GGUFReader
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name)
    reader = GGUFReader(str(path))
    architecture = reader.get_field("general.architecture")
    assert architecture is not None, f"{path} names no architecture"
    key_length = reader.get_field(f"{architecture.contents()}.attention.key_length")
    if key_length is not None and hasattr(config, "head_dim"):
        config.head_dim = key_length.contents()
    return config


@contextmanager
def whole_on_this_rank() -> Iterator[None]:
    """Inside, weights are loaded whole by the rank that asks: while ZeRO-3 is on, transformers 5.23 would deal them out
    among all ranks, and one rank that loads alone would wait for the others for ever.
    """
    from transformers.integrations import deepspeed

    held = deepspeed._hf_deepspeed_config_weak_ref
    deepspeed.unset_hf_deepspeed_config()
    try:
        yield
    finally:
        deepspeed._hf_deepspeed_config_weak_ref = held


def without_adapters(model: Any) -> Any:
    """The transformers model inside peft's wrapper; the model itself where there is none."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def adapter_base(folder: Path) -> Path:
    """Return the folder of the weights an adapter belongs to; UserError where it does not say, or they are gone."""
    link = folder / BASE_LINK
    if not link.is_file():
        raise UserError(
            f"{folder} holds an adapter without {BASE_LINK}, in which posttrain says where its base lies; "
            'merge it into its base with peft, or write {"base": "FOLDER OF THE BASE"} there'
        )
    base = (folder / json.loads(link.read_text())["base"]).resolve()
    if not base.is_dir():
        raise UserError(f"{link}: the adapter's base {base} is not there; move it back, or name its new place")
    return base


def weights_folder(folder: Path) -> Path:
    """Return the folder that holds config and weights themselves: an adapter's base, else `folder`."""
    return weights_folder(adapter_base(folder)) if (folder / "adapter_config.json").is_file() else folder


def load_tokenizer(folder: Path, chat_template: str | None = None) -> "PreTrainedTokenizerBase":
    """Load the tokenizer; `chat_template` (a Jinja file or a shipped name) replaces its own. None at all: UserError."""
    from transformers import AutoTokenizer

    from training.config.chat_templates import chat_template_path

    tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
    if chat_template is not None:
        path = chat_template_path(chat_template)
        if path is None:
            raise UserError(f"chat_template: {chat_template} is neither a file nor a shipped chat template")
        tokenizer.chat_template = path.read_text()
    return require_chat(tokenizer, folder)


def require_chat(tokenizer: "PreTrainedTokenizerBase", folder: Path) -> "PreTrainedTokenizerBase":
    """Return the tokenizer of `folder`, padded by its EOS where it has no padding; UserError where it cannot chat."""
    if not tokenizer.chat_template:
        raise UserError(
            f"the model's tokenizer in {folder} has no chat template; set `chat_template:` to a Jinja template file"
        )
    if tokenizer.eos_token is None:
        raise UserError(f"the model's tokenizer in {folder} has no EOS token, so it could never learn to stop")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def template_sha256(tokenizer: "PreTrainedTokenizerBase") -> str:
    """Hash of the chat template's text."""
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()


def special_tokens(tokenizer: "PreTrainedTokenizerBase") -> dict[str, str | None]:
    """The tokens whose change between stages breaks a model: begin, end and padding."""
    return {"bos": tokenizer.bos_token, "eos": tokenizer.eos_token, "pad": tokenizer.pad_token}


def eos_ids(model: "PreTrainedModel", tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """Every token that ends a completion: the tokenizer's EOS and those of the generation config, as TRL has it."""
    return end_tokens(getattr(model.generation_config, "eos_token_id", None), tokenizer)


def end_tokens(configured: int | list[int] | None, tokenizer: "PreTrainedTokenizerBase") -> set[int]:
    """`eos_ids` where there is no model but the `eos_token_id` of its generation config."""
    listed = configured if isinstance(configured, list) else [configured]
    return {int(token) for token in [*listed, tokenizer.eos_token_id] if token is not None}


def check_unchanged_template(parent: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", allowed: bool) -> None:
    """Refuse a stage whose template or special tokens differ from its parent's record, unless the config says so."""
    if allowed:
        return
    found = {"template_sha256": template_sha256(tokenizer), "special_tokens": special_tokens(tokenizer)}
    for key, value in found.items():
        if key in parent and parent[key] != value:
            raise UserError(
                f"the stage's {key} is {value}, its parent {parent['stage']} had {parent[key]}: a model that meets "
                "another template than it learned loses what it learned; set `allow_template_change: true` if meant"
            )


def save_policy(
    model: "PreTrainedModel", state: dict[str, Any], tokenizer: "PreTrainedTokenizerBase", folder: Path, dtype: str
) -> None:
    """Write `state` (float32 masters by parameter name) in `dtype` with config and tokenizer; buffers keep theirs.

    The model may be in training: its own config is left as it was. transformers would write the dtype in memory.
    """
    import torch

    wanted = getattr(torch, dtype)
    buffers = {name for name, _ in model.named_buffers()}
    kept = {name for name, value in state.items() if name in buffers or not value.is_floating_point()}
    cast = _cast(state, kept, wanted)
    own = model.config.dtype
    try:
        model.save_pretrained(str(folder), state_dict=cast)
        model.config.dtype = wanted
        model.config.save_pretrained(str(folder))
    finally:
        model.config.dtype = own
    tokenizer.save_pretrained(str(folder))


def _cast(state: dict[str, Any], kept: set[str], wanted: Any) -> dict[str, Any]:
    """Cast all but what is kept; tied weights stay one memory, by which transformers sees that they are tied."""
    once: dict[Any, Any] = {}
    cast = {}
    for name, value in state.items():
        memory = (value.untyped_storage().data_ptr(), value.storage_offset(), value.shape, value.stride())
        if name not in kept and memory not in once:
            once[memory] = value.to(wanted)
        cast[name] = value if name in kept else once[memory]
    return cast
