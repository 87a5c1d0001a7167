"""From a stage's block to the real TRL config object: what the user wrote, and what follows from batch and ranks."""

import importlib
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.config.deepspeed_file import read_file
from training.config.trainer_fields import CONFIG_CLASSES
from training.estimate.states import CPU_BUCKET


def accumulation_steps(stage: Any, runtime: Any) -> int:
    """Micro-batches a rank accumulates in one optimizer step; the config's validators made sure that it divides."""
    return int(stage.batch_size // (runtime.micro_batch(stage.kind) * runtime.processes))


def deepspeed_settings(runtime: Any) -> str | dict[str, Any] | None:
    """The DeepSpeed config: the user's file untouched, or ours with `auto` values that transformers fills in."""
    if runtime.zero_stage == 0:
        return None
    if runtime.deepspeed_config is not None:
        return str(runtime.deepspeed_config)
    return {
        "zero_optimization": {"stage": runtime.zero_stage, "overlap_comm": False},
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "bf16": {"enabled": "auto"},
        "steps_per_print": 1_000_000,
    }


def small_buckets(settings: str | dict[str, Any] | None) -> str | dict[str, Any] | None:
    """Our own settings for CPU ranks; a user's file stays untouched.

    DeepSpeed reduces through buckets of 5e8 numbers, made for networks between GPUs. Ranks of a host pay for them in
    memory only: 11.4 GB instead of 7.3 for two ranks of SmolLM2-135M (LOG, 2026-11-22).
    """
    if not isinstance(settings, dict):
        return settings
    buckets = {"reduce_bucket_size": CPU_BUCKET, "allgather_bucket_size": CPU_BUCKET}
    return settings | {"zero_optimization": settings["zero_optimization"] | buckets}


def load_universal(settings: str | dict[str, Any] | None) -> dict[str, Any]:
    """The DeepSpeed config of a stage that resumes from a universal checkpoint (`training.changed_world`)."""
    content = read_file(Path(settings)) if isinstance(settings, str) else settings
    assert isinstance(content, dict)
    return {**content, "checkpoint": {**content.get("checkpoint", {}), "load_universal": True}}


def build_arguments(stage: Any, runtime: Any, seed: int, output_dir: Path, universal: bool = False) -> Any:
    """Return the TRL config object of a stage; what TRL refuses is a UserError naming the stage.

    With `universal` DeepSpeed reads a checkpoint that another number of ranks wrote.
    """
    import torch

    config_class = getattr(importlib.import_module("trl"), CONFIG_CLASSES[stage.kind])
    settings = load_universal(deepspeed_settings(runtime)) if universal else deepspeed_settings(runtime)
    derived: dict[str, Any] = {
        "use_cpu": runtime.zero_stage == 0 and not torch.cuda.is_available(),  # True would switch DeepSpeed off
        "output_dir": str(output_dir),
        "seed": seed,
        "per_device_train_batch_size": runtime.micro_batch(stage.kind),
        "per_device_eval_batch_size": runtime.micro_batch(stage.kind),
        "gradient_accumulation_steps": accumulation_steps(stage, runtime),
        "report_to": [],
        "ddp_find_unused_parameters": False,  # every trained weight takes part in every loss
        "disable_tqdm": True,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,  # transformers would log the mean so far in the place of a NaN loss
        "save_strategy": "no" if runtime.checkpoint_every is None else "steps",
        "deepspeed": settings if torch.cuda.is_available() else small_buckets(settings),
    }
    if runtime.zero_stage > 0 and not torch.cuda.is_available():
        derived["accelerator_config"] = {"use_configured_state": True}  # the state of world.join_deepspeed_on_cpu
    if runtime.checkpoint_every is not None:
        derived["save_steps"] = runtime.checkpoint_every
    if getattr(stage, "expert_balance", None) in ("off", "bias"):
        derived["router_aux_loss_coef"] = 0.0
    if stage.kind == "grpo":
        scoring = [*stage.rewards, stage.reward_model, stage.judge]
        derived["reward_weights"] = [each.weight for each in scoring if each is not None]
        derived["generation_batch_size"] = stage.trainer.get("generation_batch_size", stage.batch_size)
        if stage.rollout == "vllm" and runtime.vllm.mode != "process":  # which `training.vllm_rollout` sees to
            derived |= {"use_vllm": True, "vllm_mode": runtime.vllm.mode, "vllm_server_base_url": runtime.vllm.server}
    try:
        return config_class(**{**derived, **stage.trainer})
    except (ValueError, TypeError) as error:
        raise UserError(f"stages.{stage.name}.trainer: {CONFIG_CLASSES[stage.kind]} refuses it: {error}") from error
