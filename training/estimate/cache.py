"""The key-value cache and the logits of decoding (training.rollout)."""

from training.estimate.shape import Shape
from training.estimate.workload import BYTES, Workload


def cached_numbers(shape: Shape, tokens: int) -> int:
    """Numbers cached for one row of `tokens`: keys and values of every layer, the last window where one slides.

    Latent attention caches its compressed latents and one rotary key for all heads (arXiv 2405.04434, section 2.1).
    """
    if shape.latent is not None:
        return shape.layers * tokens * (shape.latent.key_value_rank + shape.latent.rotary_head_dim)
    window = min(tokens, shape.sliding_window or tokens)
    seen = (shape.layers - shape.sliding_layers) * tokens + shape.sliding_layers * window
    return seen * 2 * shape.key_value_heads * shape.head_dim


def cache_bytes(shape: Shape, workload: Workload) -> float:
    """Bytes of the cache of `generation_rows` rows at full length; growing by a token copies one layer's keys."""
    tokens = workload.prompt_length + workload.completion_length
    numbers = workload.generation_rows * cached_numbers(shape, tokens)
    return numbers * BYTES[workload.compute_dtype] * (1 + 1 / shape.layers)


def drawing_bytes(shape: Shape, workload: Workload) -> float:
    """Bytes of one token's logits, in float32 with probabilities, their running sum and a copy."""
    return workload.generation_rows * shape.vocabulary * 4.0 * 4
