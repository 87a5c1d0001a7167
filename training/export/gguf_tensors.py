"""Weights as GGUF has them: names, order of rows, types of numbers; and the numbers of the config beside them.

llama.cpp rotates the two halves of a Llama head interleaved, so rows of its query and key matrices change places; Qwen
models keep theirs. Matrices take the type asked for, vectors (norms, biases) stay float32. With a 4-bit type the token
embedding and the output matrix take 8 bits: they decide which token is meant, and llama.cpp keeps more bits there too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""`model_type` in transformers, and the architecture's name in GGUF."""

BLOCK = 32
"""Weights that share a scale in q8_0, q4_1 and q4_0: a row's length must be a multiple."""

TABLES = ("token_embd.weight", "output.weight")


def require_architecture(config: Any, stage: str) -> None:
    """Raise UserError, by name, for a config (`transformers` or the dict of a config.json) that GGUF export refuses."""
    read = config.get if isinstance(config, Mapping) else lambda key, default=None: getattr(config, key, default)
    at, kind = f"stages.{stage}.gguf", read("model_type")
    if kind not in ARCHITECTURES:
        raise UserError(f"{at}: the architecture {kind} cannot be written; {', '.join(ARCHITECTURES)} can. Remove gguf")
    if read("use_sliding_window", False):
        raise UserError(f"{at}: {kind} with use_sliding_window cannot be written. Remove gguf")
    if read("hidden_act", "silu") != "silu":
        raise UserError(f"{at}: {kind} with hidden_act {read('hidden_act')} cannot be written, only silu. Remove gguf")
    rope = read("rope_parameters") or read("rope_scaling") or {}
    rope_type = rope.get("rope_type", rope.get("type", "default"))
    if rope_type != "default":
        raise UserError(f"{at}: rope scaling of type {rope_type} cannot be written. Remove gguf")


def add_config(writer: Any, config: Any) -> None:
    """Write the numbers of the architecture that llama.cpp needs."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])


def tensors(state: Mapping[str, "torch.Tensor"], config: Any, wanted: str) -> Iterator[tuple[str, "np.ndarray", Any]]:
    """Yield (GGUF name, data, GGMLQuantizationType) of each weight; quantised data are bytes.

    `state` maps transformers' parameter names to tensors; a tied output matrix is left out.
    """
    import torch
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map, quantize

    arch = next(key for key, name in MODEL_ARCH_NAMES.items() if name == config.model_type)
    names = get_tensor_name_map(arch, config.num_hidden_layers)
    for own, tensor in state.items():
        if own == "lm_head.weight" and config.tie_word_embeddings:
            continue
        name = names.get_name(own, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise UserError(f"gguf: the weight {own} has no name in the architecture {config.model_type} of GGUF")
        rows = tensor.detach().to("cpu", torch.float32).numpy()
        if config.model_type == "llama":
            rows = interleaved(rows, own, config)
        kind = tensor_type(name, rows.shape, wanted)
        yield name, quantize(rows, kind), kind


def interleaved(rows: "np.ndarray", name: str, config: Any) -> "np.ndarray":
    """The rows of a Llama query or key weight in llama.cpp's order; any other weight as it is.

    Within each head row i of the first half goes to 2i, row i of the second half to 2i + 1.
    """
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return rows
    halves = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return halves.swapaxes(1, 2).reshape(rows.shape)


def tensor_type(name: str, shape: tuple[int, ...], wanted: str) -> Any:
    """The GGMLQuantizationType of a weight: see the module's first lines; f16 where rows do not divide into blocks."""
    from gguf import GGMLQuantizationType as Type

    if len(shape) < 2:
        return Type.F32
    if wanted == "f16" or shape[-1] % BLOCK:
        return Type.F16
    if wanted.startswith("q4") and name in TABLES:
        return Type.Q8_0
    return Type[wanted.upper()]


def write_gguf(model: Any, tokenizer: Any, folder: Path, wanted: str, name: str) -> Path:
    """Write `<folder>/<name>-<wanted>.gguf` of a float32 model and its tokenizer; returns the file.

    Holds one quantised copy of the weights in memory beside the model. Raises UserError for what GGUF cannot say.
    """
    from gguf import GGUFWriter, LlamaFileType

    from training.export.gguf_tokenizer import add_tokenizer

    config = model.config
    file_types = {"f16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0", "q4_1": "MOSTLY_Q4_1", "q4_0": "MOSTLY_Q4_0"}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{wanted}.gguf"
    writer = GGUFWriter(path, config.model_type)
    try:
        writer.add_name(name)
        writer.add_quantization_version(2)
        writer.add_file_type(LlamaFileType[file_types[wanted]])
        add_config(writer, config)
        add_tokenizer(writer, tokenizer, config.vocab_size, getattr(model, "generation_config", None))
        for tensor_name, rows, kind in tensors(model.state_dict(), config, wanted):
            writer.add_tensor(tensor_name, rows, raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
    finally:
        writer.close()
    return path
