"""The float32 masters of a trained model, from any engine, and the artifact written from them."""

from pathlib import Path
from typing import Any

from training.adapters import merged_model, save_adapter
from training.models import save_policy
from training.world import World, barrier


def master_state(trainer: Any) -> dict[str, Any]:
    """Trained parameters in float32 by name, on the CPU; every rank must call this (ZeRO gathers them).

    Under DeepSpeed the masters live in the optimizer's partitions; elsewhere the parameters are the masters.
    """
    engine = getattr(trainer, "deepspeed", None)
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if engine is None:
        return {name: p.detach().cpu().float() for name, p in model.named_parameters() if p.requires_grad}
    from deepspeed.utils import safe_get_full_fp32_param

    state = {}
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad:
            master = safe_get_full_fp32_param(parameter)
            state[name] = master.detach().cpu().clone()
    return state


def save_artifact(trainer: Any, stage: Any, parent: Path, tokenizer: Any, folder: Path, world: World) -> None:
    """Write `<folder>` (the stage's model/) on rank 0: full weights, or an adapter with a link to its base."""
    state = master_state(trainer)
    if world.is_main:
        model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
        if stage.lora is None:
            save_policy(model, state, tokenizer, folder, stage.save_dtype)
        elif stage.lora.save == "adapter":
            save_adapter(parent, stage, state, folder)
            tokenizer.save_pretrained(str(folder))
        else:
            merged = merged_model(parent, stage, state)
            save_policy(merged, merged.state_dict(), tokenizer, folder, stage.save_dtype)
    barrier(world)
