"""What each architecture fixes without writing it into `config.json`, read from transformers 5.23's model code.

`defaults` are the config class's own: a config.json may leave a key out (Gemma 3's leave out most).
`tests/test_estimate_parameters.py` compares every family with transformers' own modules.
"""

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Family:
    """The fixed traits of one `model_type`; `*_key` name the config entry that decides."""

    defaults: dict[str, Any]
    bias_key: str = "attention_bias"
    output_bias: bool = True
    feed_forward_bias_key: str = "mlp_bias"
    head_bias: bool = False
    gated: bool = True
    block_norms: int = 2
    norm_bias: bool = False
    query_key_norm: Literal["none", "head", "full"] = "none"
    query_key_norm_key: str = "-"
    sinks: bool = False
    latent: bool = False
    experts_key: str = "-"
    shared_gate: bool = False
    expert_bias: bool = False
    full_attention_every: int = 0


def sizes(
    hidden: int, intermediate: int, layers: int, heads: int, vocab: int, positions: int, **more: Any
) -> dict[str, Any]:
    return {
        "hidden_size": hidden,
        "intermediate_size": intermediate,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "vocab_size": vocab,
        "tie_word_embeddings": False,
        "max_position_embeddings": positions,
    } | more


_GEMMA: dict[str, Any] = {"num_key_value_heads": 4, "head_dim": 256, "tie_word_embeddings": True}
_LATENT: dict[str, Any] = {
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}

_QWEN_WINDOW: dict[str, Any] = {"use_sliding_window": False, "sliding_window": 4096, "max_window_layers": 28}
_QWEN_MOE_WINDOW: dict[str, Any] = {"use_sliding_window": False, "sliding_window": 4096}

FAMILIES: dict[str, Family] = {
    "llama": Family(sizes(4096, 11008, 32, 32, 32000, 2048)),
    "mistral": Family(sizes(4096, 14336, 32, 32, 32000, 131072, num_key_value_heads=8, sliding_window=4096)),
    "qwen2": Family(
        sizes(4096, 22016, 32, 32, 151936, 32768, num_key_value_heads=32, qkv_bias=True, **_QWEN_WINDOW),
        bias_key="qkv_bias",
        output_bias=False,
    ),
    "qwen3": Family(
        sizes(4096, 22016, 32, 32, 151936, 32768, num_key_value_heads=32, head_dim=128, **_QWEN_WINDOW),
        query_key_norm="head",
    ),
    "gemma": Family(sizes(3072, 24576, 28, 16, 256000, 8192, head_dim=256, tie_word_embeddings=True)),
    "gemma2": Family(
        sizes(2304, 9216, 26, 8, 256000, 8192, **_GEMMA, sliding_window=4096),
        block_norms=4,
        full_attention_every=2,
    ),
    "gemma3_text": Family(
        sizes(2304, 9216, 26, 8, 262208, 131072, **_GEMMA, sliding_window=4096),
        block_norms=4,
        query_key_norm="head",
        full_attention_every=6,
    ),
    "phi": Family(
        sizes(2048, 8192, 24, 32, 51200, 2048, bias=True, qk_layernorm=False),
        bias_key="bias",
        feed_forward_bias_key="bias",
        head_bias=True,
        gated=False,
        block_norms=1,
        norm_bias=True,
        query_key_norm="head",
        query_key_norm_key="qk_layernorm",
    ),
    "phi3": Family(sizes(3072, 8192, 32, 32, 32064, 4096)),
    "smollm3": Family(sizes(2048, 11008, 36, 16, 128256, 32768, num_key_value_heads=4, tie_word_embeddings=True)),
    "olmo2": Family(sizes(4096, 11008, 32, 32, 50304, 2048), query_key_norm="full"),
    "granite": Family(sizes(4096, 11008, 32, 32, 32000, 2048)),
    "starcoder2": Family(
        sizes(3072, 12288, 30, 24, 49152, 4096, num_key_value_heads=2, use_bias=True, tie_word_embeddings=True),
        bias_key="use_bias",
        feed_forward_bias_key="use_bias",
        gated=False,
        norm_bias=True,
    ),
    "glm4": Family(
        sizes(4096, 13696, 40, 32, 151552, 131072, num_key_value_heads=2, head_dim=128, attention_bias=True),
        output_bias=False,
        block_norms=4,
    ),
    "mixtral": Family(
        sizes(4096, 14336, 32, 32, 32000, 131072, num_key_value_heads=8, num_local_experts=8, num_experts_per_tok=2),
        experts_key="num_local_experts",
    ),
    "qwen2_moe": Family(
        sizes(2048, 5632, 24, 16, 151936, 32768, num_key_value_heads=16, qkv_bias=True, **_QWEN_WINDOW)
        | {"num_experts": 60, "num_experts_per_tok": 4, "moe_intermediate_size": 1408}
        | {"shared_expert_intermediate_size": 5632},
        bias_key="qkv_bias",
        output_bias=False,
        experts_key="num_experts",
        shared_gate=True,
    ),
    "qwen3_moe": Family(
        sizes(2048, 6144, 24, 32, 151936, 32768, num_key_value_heads=4, **_QWEN_MOE_WINDOW)
        | {"num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768},
        query_key_norm="head",
        experts_key="num_experts",
    ),
    "olmoe": Family(
        sizes(2048, 2048, 16, 16, 50304, 4096, num_experts=64, num_experts_per_tok=8),
        query_key_norm="full",
        experts_key="num_experts",
    ),
    "deepseek_v2": Family(
        sizes(4096, 11008, 32, 32, 102400, 2048, **_LATENT, first_k_dense_replace=0)
        | {"n_routed_experts": 64, "n_shared_experts": 2, "num_experts_per_tok": None, "moe_intermediate_size": 1407},
        latent=True,
        experts_key="n_routed_experts",
    ),
    "deepseek_v3": Family(
        sizes(7168, 18432, 61, 128, 129280, 4096, **_LATENT, first_k_dense_replace=3)
        | {"n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 2048},
        latent=True,
        experts_key="n_routed_experts",
    ),
    "glm4_moe": Family(
        sizes(4096, 10944, 46, 96, 151552, 131072, num_key_value_heads=8, use_qk_norm=False, first_k_dense_replace=1)
        | {"n_routed_experts": 128, "n_shared_experts": 1, "num_experts_per_tok": 8, "moe_intermediate_size": 1408},
        output_bias=False,
        query_key_norm="head",
        query_key_norm_key="use_qk_norm",
        experts_key="n_routed_experts",
    ),
    "gpt_oss": Family(
        sizes(2880, 2880, 36, 64, 201088, 131072, num_key_value_heads=8, head_dim=64, attention_bias=True)
        | {"num_local_experts": 128, "num_experts_per_tok": 4, "sliding_window": 128},
        sinks=True,
        experts_key="num_local_experts",
        expert_bias=True,
        full_attention_every=2,
    ),
}
