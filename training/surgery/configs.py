"""What surgery makes of a model's `config.json`: plain dicts without torch, so that `plan` can ask first."""

from typing import Any

from data.errors import UserError

STACKABLE = (
    *("llama", "mistral", "qwen2", "qwen3", "gemma", "phi3", "olmo2", "granite", "smollm3", "starcoder2"),
    *("glm4", "gemma2", "gemma3_text"),
)
"""Model types whose layers are `model.layers.N.*` and alike but for their kind of attention."""
DENSE = ("llama", "mistral", "qwen2", "qwen3")
"""Model types whose attention GLM-4-MoE's can compute, and whose feed-forward block is gated without biases."""
_KEPT = (
    *("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "hidden_act"),
    *("max_position_embeddings", "initializer_range", "rms_norm_eps", "use_cache", "tie_word_embeddings"),
    *("attention_dropout", "bos_token_id", "eos_token_id", "pad_token_id", "dtype", "transformers_version"),
)
"""What upcycling leaves as it was."""
_PER_LAYER_SWITCHES = ("no_rope_layers", "layer_types")
QWEN_WINDOW_LAYERS = 28
"""max_window_layers of transformers' Qwen2Config and Qwen3Config where config.json has none."""


def upscaled_config(config: dict[str, Any], drop_layers: int) -> dict[str, Any]:
    """Return the config of two stacked copies without `drop_layers` layers each.

    UserError, led by the key at fault, for an architecture we do not stack, for as many layers as there are, and for
    layers of several kinds: the pattern would break at the seam.
    """
    _require_plain(config, STACKABLE, "kind", "stacked")
    layers = int(config["num_hidden_layers"])
    if not 1 <= drop_layers < layers:
        raise UserError(
            f"drop_layers: {drop_layers} of {layers} layers leaves nothing to stack; use 1 to {layers - 1} "
            f"(SOLAR drops a quarter: {max(1, layers // 4)})"
        )
    made = dict(config)
    stacked = 2 * (layers - drop_layers)
    for key, value in config.items():
        if isinstance(value, list) and len(value) == layers and (key in _PER_LAYER_SWITCHES or key.startswith("layer")):
            if len(set(map(str, value))) > 1:
                raise UserError(
                    f"kind: the layers of {config['model_type']} are of several kinds ({key}: "
                    f"{', '.join(dict.fromkeys(map(str, value)))}), whose pattern stacking would break at the seam"
                )
            made[key] = value[:1] * stacked
    made |= _window_layers(config, layers, stacked)
    if config["model_type"] in ("gemma2", "gemma3_text") and not config.get("layer_types"):
        raise UserError(f"kind: {config['model_type']} alternates kinds of attention, which stacking would break")
    return made | {"num_hidden_layers": stacked}


def _window_layers(config: dict[str, Any], layers: int, stacked: int) -> dict[str, Any]:
    """The stack's max_window_layers; UserError where some layers have a sliding window and some not."""
    if config["model_type"] not in ("qwen2", "qwen3") or not config.get("use_sliding_window"):
        return {}
    first = config.get("max_window_layers", QWEN_WINDOW_LAYERS)
    if first >= layers:
        return {"max_window_layers": stacked}  # or the layers that stacking adds would come after it
    if first > 0 and not config.get("layer_types"):
        raise UserError(
            f"kind: only layers after the first {first} have a sliding window (max_window_layers), a pattern that "
            "stacking would break"
        )
    return {}


def source_layer(target: int, layers: int, drop_layers: int) -> int:
    """Return which layer of the original stands at `target` (from 0) of the stack."""
    kept = layers - drop_layers
    return target if target < kept else target - kept + drop_layers


def upcycled_config(config: dict[str, Any], block: Any) -> dict[str, Any]:
    """Return the GLM-4-MoE config that computes what a dense model does; `block` has the fields of UpcycleStage.

    transformers' defaults would differ in silence: half of the rotary dimensions, a first dense layer, an MTP module.
    """
    _require_plain(config, DENSE, "kind", "upcycled")
    model_type, width = config["model_type"], int(config["intermediate_size"])
    layers, parts = int(config["num_hidden_layers"]), block.shared_experts + 1
    if width % parts:
        raise UserError(
            f"shared_experts: {block.shared_experts} cuts the feed-forward block's width {width} into {parts} parts; "
            f"use {', '.join(str(n - 1) for n in range(2, 9) if width % n == 0)}"
        )
    if block.dense_layers >= layers:
        raise UserError(f"dense_layers: {block.dense_layers} of {layers} layers leaves none to give experts to")
    if config.get("mlp_bias") or (model_type in ("llama", "qwen3") and config.get("attention_bias")):
        raise UserError(
            "kind: the model's layers have biases (mlp_bias, attention_bias) that GLM-4-MoE has no place for"
        )
    if config.get("sliding_window") and config.get("use_sliding_window", model_type == "mistral"):
        raise UserError("kind: the model's attention has a sliding window, which GLM-4-MoE has not")
    heads = int(config["num_attention_heads"])
    return {key: config[key] for key in _KEPT if key in config} | {
        "architectures": ["Glm4MoeForCausalLM"],
        "model_type": "glm4_moe",
        "num_key_value_heads": config.get("num_key_value_heads") or heads,
        "head_dim": config.get("head_dim") or int(config["hidden_size"]) // heads,
        "attention_bias": model_type == "qwen2",
        "use_qk_norm": model_type == "qwen3",
        "rope_parameters": _rotary(config),
        "partial_rotary_factor": 1.0,
        "moe_intermediate_size": width // parts,
        "n_routed_experts": block.experts,
        "n_shared_experts": block.shared_experts,
        "num_experts_per_tok": block.experts_per_token,
        "norm_topk_prob": True,
        "routed_scaling_factor": 1.0,
        "n_group": 1,
        "topk_group": 1,
        "first_k_dense_replace": block.dense_layers,
        "num_nextn_predict_layers": 0,
    }


def _rotary(config: dict[str, Any]) -> dict[str, Any]:
    """transformers 5's rotary settings, read as its `convert_rope_params_to_dict` does; older configs have rope_theta
    and rope_scaling beside one another, and the oldest `type` for rope_type.
    """
    found = dict(config.get("rope_scaling") or config.get("rope_parameters") or {})
    found.setdefault("rope_type", found.get("type", "default"))
    found.pop("type", None)
    found.setdefault("rope_theta", config.get("rope_theta", 10000.0))
    return found | {"partial_rotary_factor": 1.0}


def _require_plain(config: dict[str, Any], known: tuple[str, ...], key: str, done: str) -> None:
    model_type = config.get("model_type")
    if model_type not in known:
        raise UserError(f"{key}: models of type {model_type!r} cannot be {done}; known are {', '.join(known)}")
    if config.get("quantization_config"):
        raise UserError(f"{key}: the model's weights are quantised; start from the whole ones")
