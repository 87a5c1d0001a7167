"""Stage kind `upscale`: depth up-scaling (Kim et al. 2023, SOLAR 10.7B, arXiv 2312.15166, section 2).

A model of n layers is copied; the last m layers of the one copy and the first m of the other are left out, and the rest
is stacked to 2(n - m). Embeddings, final norm and head stay single. Key-value caches need nothing: transformers numbers
the layers of the new model itself.
"""

from pathlib import Path
from typing import Any

import torch

from data.errors import UserError
from training.context import StageContext, StageResult
from training.surgery.configs import source_layer, upscaled_config
from training.surgery.stage import make_model
from training.surgery.tensors import SHARD_BYTES, ShardWriter, WeightReader, in_layers, read_config, write_beside


def run(context: StageContext) -> StageResult:
    """Leave the stacked model in `<folder>/model`; the caller writes the record."""
    stage = context.stage

    def write(folder: Path) -> dict[str, Any]:
        return upscale(context.parent_model, folder, stage.drop_layers, stage.save_dtype, context.state.rows_done)

    return make_model(context, write)


def upscale(
    source: Path,
    folder: Path,
    drop_layers: int,
    dtype: str | None = None,
    progress: Any = lambda tensors: None,
    shard_bytes: int = SHARD_BYTES,
) -> dict[str, Any]:
    """Write the stack of two copies of the model in `source` into `folder`; returns layers and parameters.

    Memory: one shard of `shard_bytes` and one tensor. UserError, led by the config key at fault, for what cannot be
    stacked.
    """
    config = read_config(source)
    made = upscaled_config(config, drop_layers)
    layers, stacked = int(config["num_hidden_layers"]), int(made["num_hidden_layers"])
    writer = ShardWriter(folder, None if dtype is None else getattr(torch, dtype), shard_bytes)
    with WeightReader(source) as reader:
        inside: dict[int, list[str]] = {}
        for name, layer, rest in in_layers(reader.names):
            if layer is None:
                writer.add(name, reader.read(name))
                progress(1)
            else:
                inside.setdefault(layer, []).append(rest)
        if sorted(inside) != list(range(layers)):
            raise UserError(f"kind: the weights in {source} have layers {sorted(inside)}, the config says {layers}")
        for target in range(stacked):
            origin = source_layer(target, layers, drop_layers)
            for rest in inside[origin]:
                writer.add(f"model.layers.{target}.{rest}", reader.read(f"model.layers.{origin}.{rest}"))
                progress(1)
    writer.close()
    write_beside(source, folder, made, dtype)
    return {"layers": stacked, "layers_before": layers, "parameters": writer.parameters}
