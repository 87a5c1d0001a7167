"""Rules of stages that make a model from models, and of the balance of experts in training."""

from __future__ import annotations

from collections.abc import Iterator

from data.errors import UserError
from training.config.cross_checks import Finding, named_models
from training.config.document import KeyPath
from training.config.expand import with_parents
from training.config.pipeline import Pipeline
from training.config.stage_base import DIFFERENCE_METHODS, MergeStage, SurgeryStage
from training.config.stages import LikelihoodStage, ModelStage

_ONLY = {"t": ("slerp",), "density": ("ties", "dare_ties"), "base": DIFFERENCE_METHODS}


def merges_have_what_their_method_takes(pipeline: Pipeline) -> Iterator[Finding]:
    """A merge names different models, slerp two of them, a weight for each, and only what its method uses."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, MergeStage):
            continue
        at: KeyPath = ("stages", index)
        if len(set(stage.from_)) < len(stage.from_):
            yield (*at, "from"), "names a model twice; give it a greater weight in place of that"
        if stage.method == "slerp" and len(stage.from_) != 2:
            yield (*at, "method"), f"goes from one model to another; from names {len(stage.from_)}"
        if stage.method == "slerp" and stage.weights is not None:
            yield (*at, "weights"), "is not for slerp; write t"
        elif stage.weights is not None and len(stage.weights) != len(stage.from_):
            yield (*at, "weights"), f"has {len(stage.weights)} numbers for {len(stage.from_)} models"
        elif stage.method in ("linear", "ties", "dare_ties") and sum(stage.weights or [1.0]) == 0.0:
            yield (*at, "weights"), "add up to 0, by which the merge divides; change one"
        for key, methods in _ONLY.items():
            if getattr(stage, key) is not None and stage.method not in methods:
                yield (*at, key), f"does nothing with method: {stage.method}; it is of {', '.join(methods)}"
        if stage.method in DIFFERENCE_METHODS and (stage.base or "base") in stage.from_:
            at_key = "base" if stage.base is not None else "from"
            yield (*at, at_key), f"{stage.base or 'base'} is both merged and subtracted; take it out of from"


def surgery_starts_from_whole_weights(pipeline: Pipeline) -> Iterator[Finding]:
    """Layers and experts are made of weights, not of an adapter beside its base."""
    adapters = {
        stage.name
        for stage in pipeline.stages
        if isinstance(stage, ModelStage) and stage.lora is not None and stage.lora.save == "adapter"
    }
    for index, (stage, parent) in enumerate(with_parents(pipeline.stages)):
        if not isinstance(stage, SurgeryStage):
            continue
        named = list(named_models(stage)) or [(("kind",), parent)]
        for key, name in named:
            if name in adapters:
                yield ("stages", index, *key), f"{name} leaves an adapter; set stages.{name}.lora.save=merged"


def experts_are_balanced_one_way(pipeline: Pipeline) -> Iterator[Finding]:
    """The auxiliary loss and the selection bias pull at the same router: at most one is on."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, LikelihoodStage):
            continue
        at: KeyPath = ("stages", index)
        coefficient = stage.trainer.get("router_aux_loss_coef")
        if stage.expert_balance in ("bias", "off") and coefficient:
            yield (
                (*at, "expert_balance"),
                f"and trainer.router_aux_loss_coef={coefficient:g} are two ways of balancing; remove one",
            )
        if stage.expert_balance == "aux" and coefficient == 0:
            yield (
                (*at, "expert_balance"),
                "has no weight with trainer.router_aux_loss_coef=0; give it one, or write off",
            )
        if stage.expert_balance != "bias" and "bias_update_speed" in stage.model_fields_set:
            yield (*at, "bias_update_speed"), "does nothing without expert_balance: bias; remove it"
        if stage.expert_balance == "bias" and stage.lora is not None:
            yield (
                (*at, "expert_balance"),
                "moves a bias of the full weights, which adapters leave as they are; remove lora",
            )


def layers_and_experts_come_out_even(pipeline: Pipeline) -> Iterator[Finding]:
    """drop_layers leaves layers to stack, parts divide a feed-forward block; told where the base's config is here."""
    surgery = [(index, stage.name) for index, stage in enumerate(pipeline.stages) if isinstance(stage, SurgeryStage)]
    if not surgery:
        return
    from training.surgery.lineage import configs_of

    try:
        configs = configs_of(pipeline)
    except UserError:
        return  # the base's config is not here; the stage itself will tell
    for index, name in surgery:
        found = configs.get(name)
        if isinstance(found, str):
            key, _, text = found.partition(": ")
            yield ("stages", index, key), text


RULES = (
    merges_have_what_their_method_takes,
    surgery_starts_from_whole_weights,
    experts_are_balanced_one_way,
    layers_and_experts_come_out_even,
)
