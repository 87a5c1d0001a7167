"""Stage kind `upcycle`: feed-forward blocks become experts (Komatsuzaki et al. 2022, arXiv 2212.05055) behind
DeepSeek-V3's sigmoid router with a selection bias and shared experts (arXiv 2412.19437, section 2.1.2).

The block of width I is cut along its hidden units into parts of I / (shared_experts + 1). All parts but the last become
the shared experts, which every token passes through; each routed expert is a copy of the last part. The router's
weights add up to 1 (norm_topk_prob), so that shared and routed experts together compute the block, whatever the router
says. The result is a GLM-4-MoE, the one architecture in transformers 5.23 with plain attention and this router.

Departures from arXiv 2212.05055: 1. parts in place of whole copies, so that a token passes through
(experts_per_token + shared_experts) / (shared_experts + 1) times the dense block's weights; 2. noise on each routed
expert (`expert_noise`): the gradient of the router is zero between equal experts.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from training.context import StageContext, StageResult
from training.identity import derived_seed
from training.surgery.configs import upcycled_config
from training.surgery.stage import make_model
from training.surgery.tensors import SHARD_BYTES, ShardWriter, WeightReader, in_layers, read_config, write_beside

HIDDEN_UNITS = {"gate_proj": 0, "up_proj": 0, "down_proj": 1}
"""The dimension of each projection along which the hidden units of the block lie."""
BIAS = "e_score_correction_bias"


def run(context: StageContext) -> StageResult:
    """Leave the model with experts in `<folder>/model`; the caller writes the record."""
    stage = context.stage

    def write(folder: Path) -> dict[str, Any]:
        return upcycle(context.parent_model, folder, stage, context.seed, context.state.rows_done)

    return make_model(context, write)


def upcycle(
    source: Path,
    folder: Path,
    block: Any,
    seed: int,
    progress: Any = lambda tensors: None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Any]:
    """Write the dense model in `source` with experts into `folder`; `block` has the fields of UpcycleStage.

    Noise and routers follow from `seed` and the tensor's name. Returns experts, layers with them, and parameters.
    """
    config = read_config(source)
    made = upcycled_config(config, block)
    dtype = block.save_dtype
    writer = ShardWriter(folder, None if dtype is None else getattr(torch, dtype), shard_bytes)
    sparse = range(block.dense_layers, int(config["num_hidden_layers"]))
    router_shape = (block.experts, int(config["hidden_size"]))
    with WeightReader(source) as reader:
        for name, layer, rest in in_layers(reader.names):
            if layer not in sparse or not rest.startswith("mlp."):
                writer.add(name, reader.read(name))
            else:
                for part, tensor in expert_tensors(name, reader.read(name), block, seed):
                    writer.add(part, tensor)
            progress(1)
    for layer in sparse:
        gate = f"model.layers.{layer}.mlp.gate"
        weight = torch.randn(router_shape, generator=_random(seed, gate)) * config.get("initializer_range", 0.02)
        writer.add(f"{gate}.weight", weight)
        writer.add(f"{gate}.{BIAS}", torch.zeros(block.experts), keep_dtype=True)
    writer.close()
    write_beside(source, folder, made, dtype)
    return {"experts": block.experts, "layers_with_experts": len(sparse), "parameters": writer.parameters}


def expert_tensors(name: str, weight: torch.Tensor, block: Any, seed: int) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, tensor) of the shared and routed experts that one projection of a dense block becomes."""
    stem, projection = name.removesuffix(".weight").rsplit(".", 1)
    if projection not in HIDDEN_UNITS or not name.endswith(".weight"):
        raise UserError(f"kind: {name} is no projection of a gated feed-forward block without biases")
    dimension = HIDDEN_UNITS[projection]
    width = weight.shape[dimension] // (block.shared_experts + 1)
    shared, routed = weight.split([block.shared_experts * width, width], dimension)
    yield f"{stem}.shared_experts.{projection}.weight", shared
    scale = block.expert_noise * float(weight.float().std())
    for expert in range(block.experts):
        own = f"{stem}.experts.{expert}.{projection}.weight"
        if scale == 0.0:
            yield own, routed.clone()
            continue
        noise = torch.randn(routed.shape, generator=_random(seed, own))
        yield own, (routed.float() + scale * noise).to(weight.dtype)


def _random(seed: int, name: str) -> torch.Generator:
    return torch.Generator().manual_seed(derived_seed(seed, name))
