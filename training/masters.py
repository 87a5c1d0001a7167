"""The float32 masters of a trained model, from any engine, and the artifact written from them."""

from pathlib import Path
from typing import Any

from training.adapters import merged_model, save_adapter
from training.heap import give_back_freed_memory
from training.models import save_policy
from training.world import World, others_wait


def master_state(trainer: Any) -> dict[str, Any]:
    """Trained parameters in float32 by name, on the CPU; every rank must call this (ZeRO gathers them).

    Under DeepSpeed the masters live in the optimizer's partitions; elsewhere the parameters are the masters. What a
    model keeps beside its parameters (a router's selection bias) comes as it is.
    """
    engine = getattr(trainer, "deepspeed", None)
    model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
    if engine is None:
        trained = {name: p.detach().cpu().float() for name, p in model.named_parameters() if p.requires_grad}
        return trained | kept_buffers(model)
    from deepspeed.utils import safe_get_full_fp32_param

    state = {}
    for name, parameter in engine.module.named_parameters():
        if parameter.requires_grad:
            master = safe_get_full_fp32_param(parameter)
            state[name] = master.detach().cpu().clone()
    return state | kept_buffers(engine.module)


def kept_buffers(model: Any) -> dict[str, Any]:
    """The buffers that belong to a model's weights, on the CPU; none where only adapters are trained."""
    if hasattr(model, "peft_config"):
        return {}
    saved = model.state_dict().keys()
    return {name: buffer.detach().cpu().clone() for name, buffer in model.named_buffers() if name in saved}


def save_artifact(trainer: Any, stage: Any, parent: Path, tokenizer: Any, folder: Path, world: World) -> None:
    """Write `<folder>` (the stage's model/) on rank 0: full weights, or an adapter with a link to its base."""
    state = master_state(trainer)
    with others_wait(world):
        if world.is_main:
            model = trainer.accelerator.unwrap_model(trainer.model_wrapped)
            _write_artifact(model, state, stage, parent, tokenizer, folder)


def _write_artifact(model: Any, state: dict[str, Any], stage: Any, parent: Path, tokenizer: Any, folder: Path) -> None:
    if stage.lora is not None:  # the parent is loaded a second time, mapped from its files
        give_back_freed_memory()
    if stage.lora is None:
        save_policy(model, state, tokenizer, folder, stage.save_dtype)
    elif stage.lora.save == "adapter":
        save_adapter(parent, stage, state, folder)
        tokenizer.save_pretrained(str(folder))
    else:
        merged = merged_model(parent, stage, state)
        save_policy(merged, merged.state_dict(), tokenizer, folder, stage.save_dtype)
