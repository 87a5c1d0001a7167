"""The shape of a model from its `config.json`: every size that parameter counts, memory and FLOPs need.

`training.estimate.families` says, per `model_type`, what the config leaves to the architecture; a model type that is
not there is refused by name rather than guessed.
"""

from dataclasses import dataclass
from typing import Any, Literal

from data.errors import UserError
from training.estimate.families import FAMILIES, Family


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv 2405.04434): ranks of the compressions and sizes of a head."""

    query_rank: int | None
    key_value_rank: int
    plain_head_dim: int
    rotary_head_dim: int
    value_head_dim: int


@dataclass(frozen=True)
class Experts:
    """The mixture of experts of `layers` layers; the other layers keep their dense feed-forward block."""

    layers: int
    count: int
    per_token: int
    intermediate: int
    shared_intermediate: int
    shared_gate: bool
    bias: bool


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder-only transformer. `sliding_layers` layers see only the last `sliding_window` tokens."""

    model_type: str
    layers: int
    hidden: int
    intermediate: int
    vocabulary: int
    tied: bool
    heads: int
    key_value_heads: int
    head_dim: int
    query_key_value_bias: bool
    output_bias: bool
    feed_forward_bias: bool
    head_bias: bool
    gated: bool
    block_norms: int
    norm_bias: bool
    query_key_norm: Literal["none", "head", "full"]
    sinks: bool
    sliding_window: int | None
    sliding_layers: int
    latent: Latent | None
    experts: Experts | None
    max_positions: int

    @property
    def dense_layers(self) -> int:
        """Layers whose feed-forward block has no experts."""
        return self.layers - (0 if self.experts is None else self.experts.layers)


SIZES = (
    "num_hidden_layers", "num_attention_heads", "hidden_size", "intermediate_size", "vocab_size",
    "max_position_embeddings",
)  # fmt: skip
"""What every config has to say, if only by its architecture's defaults."""


def shape_of(config: dict[str, Any]) -> Shape:
    """Return the shape of a `config.json`; keys it leaves out have the architecture's defaults."""
    model_type = config.get("model_type")
    if model_type is None:
        raise UserError("model: its config.json names no architecture (model_type); give a transformers model's folder")
    if model_type not in FAMILIES:
        raise UserError(
            f"model: the architecture {model_type!r} is not known to the planner, so its size cannot be told; "
            f"known are {', '.join(sorted(FAMILIES))}"
        )
    family = FAMILIES[model_type]
    sizes = {**family.defaults, **config}
    for key in SIZES:
        if type(sizes.get(key)) is not int or sizes[key] < 1:
            raise UserError(f"model: {key} = {sizes.get(key)!r} in its config.json: must be a whole number above 0")
    layers, heads, hidden = sizes["num_hidden_layers"], sizes["num_attention_heads"], sizes["hidden_size"]
    attention_bias = bool(sizes.get(family.bias_key, False))
    window, sliding_layers = _sliding(sizes, family)
    return Shape(
        model_type=model_type,
        layers=layers,
        hidden=hidden,
        intermediate=sizes["intermediate_size"],
        vocabulary=sizes["vocab_size"],
        tied=bool(sizes["tie_word_embeddings"]),
        heads=heads,
        key_value_heads=sizes.get("num_key_value_heads") or heads,
        head_dim=sizes.get("head_dim") or hidden // heads,
        query_key_value_bias=attention_bias,
        output_bias=attention_bias and family.output_bias,
        feed_forward_bias=bool(sizes.get(family.feed_forward_bias_key, False)),
        head_bias=family.head_bias,
        gated=family.gated,
        block_norms=family.block_norms,
        norm_bias=family.norm_bias,
        query_key_norm=family.query_key_norm if sizes.get(family.query_key_norm_key, True) else "none",
        sinks=family.sinks,
        sliding_window=window,
        sliding_layers=sliding_layers,
        latent=_latent(sizes) if family.latent else None,
        experts=_experts(sizes, family) if family.experts_key in sizes else None,
        max_positions=sizes["max_position_embeddings"],
    )


def _latent(sizes: dict[str, Any]) -> Latent:
    return Latent(
        query_rank=sizes["q_lora_rank"],
        key_value_rank=sizes["kv_lora_rank"],
        plain_head_dim=sizes["qk_nope_head_dim"],
        rotary_head_dim=sizes["qk_rope_head_dim"],
        value_head_dim=sizes["v_head_dim"],
    )


def _experts(sizes: dict[str, Any], family: Family) -> Experts:
    layers = sizes["num_hidden_layers"]
    sparse = set(range(sizes.get("first_k_dense_replace", 0), layers))
    every = sizes.get("decoder_sparse_step", 1)
    sparse = {layer for layer in sparse if (layer + 1) % every == 0} - set(sizes.get("mlp_only_layers") or ())
    intermediate = sizes.get("moe_intermediate_size", sizes["intermediate_size"])
    shared = sizes.get("shared_expert_intermediate_size", (sizes.get("n_shared_experts") or 0) * intermediate)
    return Experts(
        layers=len(sparse),
        count=sizes[family.experts_key],
        per_token=sizes["num_experts_per_tok"],
        intermediate=intermediate,
        shared_intermediate=shared,
        shared_gate=family.shared_gate,
        bias=family.expert_bias,
    )


def _sliding(sizes: dict[str, Any], family: Family) -> tuple[int | None, int]:
    """Window in tokens and the number of layers it holds for; (None, 0) where every layer sees everything."""
    window, layers = sizes.get("sliding_window"), sizes["num_hidden_layers"]
    if not window or not sizes.get("use_sliding_window", True):
        return None, 0
    kinds = sizes.get("layer_types")
    if kinds is not None:
        return window, sum(kind == "sliding_attention" for kind in kinds)
    if "max_window_layers" in sizes:  # Qwen: the first layers see everything
        return window, max(0, layers - sizes["max_window_layers"])
    full_every = sizes.get("sliding_window_pattern", family.full_attention_every)
    return window, layers - (layers // full_every if full_every else 0)
