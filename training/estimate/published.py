"""Configs of published architectures, 0.5B to 671B, for models whose config.json is not on this machine.

Only the keys that a shape needs, as the model's own config.json has them (the defaults stand in `families`). A key is
the hub name in small letters without its owner and without `TUNED` words: "meta-llama/Llama-3.1-8B-Instruct" is
"llama-3.1-8b".
"""

from typing import Any

from training.estimate.families import sizes

_QWEN25: dict[str, Any] = {"model_type": "qwen2", "num_key_value_heads": 8}
_QWEN25_TIED: dict[str, Any] = {"model_type": "qwen2", "num_key_value_heads": 2, "tie_word_embeddings": True}
_QWEN3: dict[str, Any] = {"model_type": "qwen3", "num_key_value_heads": 8, "head_dim": 128}
_QWEN3_TIED: dict[str, Any] = _QWEN3 | {"tie_word_embeddings": True}
_QWEN3_MOE: dict[str, Any] = {"model_type": "qwen3_moe", "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128}
_LLAMA3: dict[str, Any] = {"model_type": "llama", "num_key_value_heads": 8}
_SMOL2: dict[str, Any] = {"model_type": "llama", "tie_word_embeddings": True}
_MISTRAL: dict[str, Any] = {"model_type": "mistral", "num_key_value_heads": 8, "head_dim": 128, "sliding_window": None}
_GEMMA2: dict[str, Any] = {"model_type": "gemma2", "sliding_window": 4096, "tie_word_embeddings": True}
_GEMMA3: dict[str, Any] = {
    "model_type": "gemma3_text",
    "head_dim": 256,
    "sliding_window": 512,
    "tie_word_embeddings": True,
}
_PHI3: dict[str, Any] = {"model_type": "phi3", "sliding_window": None}
_V3: dict[str, Any] = {"model_type": "deepseek_v3"}

KNOWN: dict[str, dict[str, Any]] = {
    "smollm2-135m": sizes(576, 1536, 30, 9, 49152, 8192, num_key_value_heads=3, **_SMOL2),
    "smollm2-360m": sizes(960, 2560, 32, 15, 49152, 8192, num_key_value_heads=5, **_SMOL2),
    "smollm2-1.7b": sizes(2048, 8192, 24, 32, 49152, 8192, num_key_value_heads=32, **_SMOL2),
    "smollm3-3b": sizes(2048, 11008, 36, 16, 128256, 65536)
    | {"model_type": "smollm3", "num_key_value_heads": 4, "tie_word_embeddings": True},
    "qwen2.5-0.5b": sizes(896, 4864, 24, 14, 151936, 32768) | _QWEN25_TIED,
    "qwen2.5-1.5b": sizes(1536, 8960, 28, 12, 151936, 32768) | _QWEN25_TIED,
    "qwen2.5-3b": sizes(2048, 11008, 36, 16, 151936, 32768) | _QWEN25_TIED,
    "qwen2.5-7b": sizes(3584, 18944, 28, 28, 152064, 32768) | _QWEN25 | {"num_key_value_heads": 4},
    "qwen2.5-14b": sizes(5120, 13824, 48, 40, 152064, 32768) | _QWEN25,
    "qwen2.5-32b": sizes(5120, 27648, 64, 40, 152064, 32768) | _QWEN25,
    "qwen2.5-72b": sizes(8192, 29568, 80, 64, 152064, 32768) | _QWEN25,
    "qwen3-0.6b": sizes(1024, 3072, 28, 16, 151936, 40960) | _QWEN3_TIED,
    "qwen3-1.7b": sizes(2048, 6144, 28, 16, 151936, 40960) | _QWEN3_TIED,
    "qwen3-4b": sizes(2560, 9728, 36, 32, 151936, 40960) | _QWEN3_TIED,
    "qwen3-8b": sizes(4096, 12288, 36, 32, 151936, 40960) | _QWEN3,
    "qwen3-14b": sizes(5120, 17408, 40, 40, 151936, 40960) | _QWEN3,
    "qwen3-32b": sizes(5120, 25600, 64, 64, 151936, 40960) | _QWEN3,
    "qwen3-30b-a3b": sizes(2048, 6144, 48, 32, 151936, 40960)
    | _QWEN3_MOE
    | {"num_experts_per_tok": 8, "moe_intermediate_size": 768},
    "qwen3-235b-a22b": sizes(4096, 12288, 94, 64, 151936, 40960)
    | _QWEN3_MOE
    | {"num_experts_per_tok": 8, "moe_intermediate_size": 1536},
    "llama-2-7b": sizes(4096, 11008, 32, 32, 32000, 4096, model_type="llama"),
    "llama-2-13b": sizes(5120, 13824, 40, 40, 32000, 4096, model_type="llama"),
    "llama-2-70b": sizes(8192, 28672, 80, 64, 32000, 4096) | _LLAMA3,
    "llama-3-8b": sizes(4096, 14336, 32, 32, 128256, 8192) | _LLAMA3,
    "llama-3-70b": sizes(8192, 28672, 80, 64, 128256, 8192) | _LLAMA3,
    "llama-3.1-8b": sizes(4096, 14336, 32, 32, 128256, 131072) | _LLAMA3,
    "llama-3.1-70b": sizes(8192, 28672, 80, 64, 128256, 131072) | _LLAMA3,
    "llama-3.3-70b": sizes(8192, 28672, 80, 64, 128256, 131072) | _LLAMA3,
    "llama-3.1-405b": sizes(16384, 53248, 126, 128, 128256, 131072) | _LLAMA3,
    "llama-3.2-1b": sizes(2048, 8192, 16, 32, 128256, 131072, tie_word_embeddings=True) | _LLAMA3,
    "llama-3.2-3b": sizes(3072, 8192, 28, 24, 128256, 131072, tie_word_embeddings=True) | _LLAMA3,
    "tinyllama-1.1b-v1.0": sizes(2048, 5632, 22, 32, 32000, 2048, model_type="llama", num_key_value_heads=4),
    "mistral-7b-v0.1": sizes(4096, 14336, 32, 32, 32000, 32768) | _MISTRAL | {"sliding_window": 4096},
    "mistral-7b-v0.3": sizes(4096, 14336, 32, 32, 32768, 32768) | _MISTRAL,
    "mistral-nemo": sizes(5120, 14336, 40, 32, 131072, 131072) | _MISTRAL,
    "mistral-small-24b": sizes(5120, 32768, 40, 32, 131072, 32768) | _MISTRAL,
    "mixtral-8x7b-v0.1": sizes(4096, 14336, 32, 32, 32000, 32768)
    | {"model_type": "mixtral", "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "mixtral-8x22b-v0.1": sizes(6144, 16384, 56, 48, 32768, 65536)
    | {"model_type": "mixtral", "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2},
    "gemma-2-2b": sizes(2304, 9216, 26, 8, 256000, 8192, num_key_value_heads=4, head_dim=256) | _GEMMA2,
    "gemma-2-9b": sizes(3584, 14336, 42, 16, 256000, 8192, num_key_value_heads=8, head_dim=256) | _GEMMA2,
    "gemma-2-27b": sizes(4608, 36864, 46, 32, 256000, 8192, num_key_value_heads=16, head_dim=128) | _GEMMA2,
    "gemma-3-270m": sizes(640, 2048, 18, 4, 262144, 32768, num_key_value_heads=1) | _GEMMA3,
    "gemma-3-1b": sizes(1152, 6912, 26, 4, 262144, 32768, num_key_value_heads=1) | _GEMMA3,
    "phi-2": sizes(2560, 10240, 32, 32, 51200, 2048, model_type="phi"),
    "phi-3-mini": sizes(3072, 8192, 32, 32, 32064, 4096) | _PHI3,
    "phi-4": sizes(5120, 17920, 40, 40, 100352, 16384, num_key_value_heads=10) | _PHI3,
    "olmo-2-1124-7b": sizes(4096, 11008, 32, 32, 100352, 4096, model_type="olmo2"),
    "olmoe-1b-7b": sizes(2048, 1024, 16, 16, 50304, 4096)
    | {"model_type": "olmoe", "num_experts": 64, "num_experts_per_tok": 8},
    "gpt-oss-20b": sizes(2880, 2880, 24, 64, 201088, 131072)
    | {"model_type": "gpt_oss", "num_local_experts": 32, "num_experts_per_tok": 4},
    "gpt-oss-120b": sizes(2880, 2880, 36, 64, 201088, 131072)
    | {"model_type": "gpt_oss", "num_local_experts": 128, "num_experts_per_tok": 4},
    "glm-4.5-air": sizes(4096, 10944, 46, 96, 151552, 131072)
    | {"model_type": "glm4_moe", "attention_bias": True, "head_dim": 128, "use_qk_norm": False},
    "glm-4.5": sizes(5120, 12288, 92, 96, 151552, 131072)
    | {"model_type": "glm4_moe", "attention_bias": True, "head_dim": 128, "use_qk_norm": True}
    | {"n_routed_experts": 160, "first_k_dense_replace": 3, "moe_intermediate_size": 1536},
    "deepseek-v2-lite": sizes(2048, 10944, 27, 16, 102400, 163840)
    | {"model_type": "deepseek_v2", "q_lora_rank": None, "first_k_dense_replace": 1, "num_experts_per_tok": 6}
    | {"moe_intermediate_size": 1408},
    "deepseek-v2": sizes(5120, 12288, 60, 128, 102400, 163840)
    | {"model_type": "deepseek_v2", "first_k_dense_replace": 1, "num_experts_per_tok": 6}
    | {"n_routed_experts": 160, "moe_intermediate_size": 1536},
    "deepseek-v3": sizes(7168, 18432, 61, 128, 129280, 163840) | _V3,
    "deepseek-r1": sizes(7168, 18432, 61, 128, 129280, 163840) | _V3,
}
KNOWN |= {
    "deepseek-r1-distill-qwen-1.5b": KNOWN["qwen2.5-1.5b"] | {"tie_word_embeddings": False},
    "deepseek-r1-distill-qwen-7b": KNOWN["qwen2.5-7b"],
    "deepseek-r1-distill-qwen-14b": KNOWN["qwen2.5-14b"],
    "deepseek-r1-distill-qwen-32b": KNOWN["qwen2.5-32b"],
    "deepseek-r1-distill-llama-8b": KNOWN["llama-3.1-8b"],
    "deepseek-r1-distill-llama-70b": KNOWN["llama-3.3-70b"],
    "qwen2.5-math-1.5b": KNOWN["qwen2.5-1.5b"],
    "qwen2.5-math-7b": KNOWN["qwen2.5-7b"],
}
BUNDLED_CONFIGS: dict[str, dict[str, Any]] = {
    "smollm2-135m-instruct": KNOWN["smollm2-135m"],
    "tiny-random": sizes(64, 128, 2, 4, 259, 2048, num_key_value_heads=2, **_SMOL2),
}
"""What `training.bundled` converts or makes on first use; a test compares them."""

TUNED = {"meta", "instruct", "base", "chat", "it", "pt", "hf", "zero", "4k", "128k"} | {
    "0324", "0528", "2407", "2501", "2507"
}  # fmt: skip
"""Words of a hub name that tell of the training and not of the shape."""


def published_config(model: str) -> dict[str, Any] | None:
    """Return the config of a published model by its hub id (owner and `@commit` are ignored), or None."""
    words = model.partition("@")[0].rpartition("/")[2].lower().split("-")
    return KNOWN.get("-".join(word for word in words if word not in TUNED))
