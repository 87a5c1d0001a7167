"""The rule of adapters that needs the model's sizes: a rank above those of its matrices adapts nothing cheaply."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data.errors import UserError
from training.config.cross_checks import Finding
from training.config.expand import with_parents
from training.config.pipeline import Pipeline
from training.config.stage_parts import Lora
from training.config.stages import TrainingStage


def adapters_have_no_higher_rank_than_the_matrices(pipeline: Pipeline) -> Iterator[Finding]:
    """LoRA's r is at most the rank of some matrix that it adapts; told where the base's config is here."""
    adapted = [
        (index, stage.lora, parent)
        for index, (stage, parent) in enumerate(with_parents(pipeline.stages))
        if isinstance(stage, TrainingStage) and stage.lora is not None
    ]
    if not adapted:
        return
    from training.surgery.lineage import configs_of

    try:
        configs = configs_of(pipeline)
    except UserError:
        return  # the base's config is not here
    for index, lora, parent in adapted:
        most = _highest_rank(configs.get(parent, configs["base"]), lora)
        if most is not None and lora.r > most:
            yield (
                ("stages", index, "lora", "r"),
                f"is above the rank of every matrix that it adapts; use 1 to {most} (8 to 64 is usual), or remove lora "
                "to train all weights",
            )


def _highest_rank(config: dict[str, Any] | str, lora: Lora) -> int | None:
    """The highest rank among the matrices that get an adapter; None unless the sizes of all of them are known."""
    if isinstance(config, str):
        return None
    try:
        ranks = _ranks(config)
    except (UserError, KeyError, TypeError):
        return None  # a config that the planner cannot read is no mistake of the adapters
    chosen = ranks.keys() if lora.target_modules == "all-linear" else set(lora.target_modules)
    return max((ranks[name] for name in chosen), default=None) if chosen <= ranks.keys() else None


def _ranks(config: dict[str, Any]) -> dict[str, int]:
    """Name -> rank of the linear layers but the head; none of a mixture of experts, whose blocks share names."""
    from training.estimate.adapters import attention_linears, feed_forward_linears
    from training.estimate.shape import shape_of

    shape = shape_of(config)
    if shape.experts is not None:
        return {}
    sizes = attention_linears(shape)
    for _, linears in feed_forward_linears(shape):
        sizes = sizes | linears
    return {name: min(size) for name, size in sizes.items()}
