"""A DeepSpeed file beside the trainer: literals that contradict it are refused, `auto` values told before the run.

The file is passed through untouched; transformers fills `auto` (5.23, `HfTrainerDeepSpeedConfig`), and refuses some
contradictions once the ranks run, while others hold in silence: an absent `gradient_clipping` clips nothing, a
scheduler of DeepSpeed's replaces the trainer's. All of them are found here, without importing either.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config.cross_checks import Finding
from training.config.pipeline import Pipeline
from training.config.runtime import Runtime
from training.config.stages import ModelStage
from training.config.trainer_fields import default

AUTO = "auto"
BY_HIDDEN_SIZE = {
    "zero_optimization.reduce_bucket_size": "the model's hidden size squared",
    "zero_optimization.stage3_prefetch_bucket_size": "0.9 of the model's hidden size squared",
    "zero_optimization.stage3_param_persistence_threshold": "10 times the model's hidden size",
}
"""What transformers fills once it has the model."""
BY_LENGTH = ("scheduler.params.total_num_steps", "scheduler.params.warmup_num_steps")
"""What transformers fills once it knows the number of steps."""
NEEDED = {
    "zero_optimization.stage": 0,
    "train_micro_batch_size_per_gpu": None,
    "gradient_accumulation_steps": None,
    "gradient_clipping": 0.0,
    "bf16.enabled": False,
    "fp16.enabled": False,
}
"""What counts where the file has no such key: DeepSpeed's default; None must be written."""
OPTIMIZERS = ("Adam", "AdamW")
SCHEDULERS = {
    "WarmupLR": "constant_with_warmup",
    "WarmupDecayLR": "linear",
    "WarmupCosineLR": "cosine",
}
"""DeepSpeed's schedulers and the trainer's that do the same."""


@dataclass(frozen=True)
class Setting:
    """What the trainer has for a key of DeepSpeed's: the value, and where it stands in the pipeline."""

    value: Any
    key: str


def settings(stage: ModelStage, runtime: Runtime) -> dict[str, Setting]:
    """Return, by DeepSpeed's key, what the trainer of a stage has."""

    def trainer(name: str) -> Setting:
        return Setting(trainer_value(stage, name), f"stages.{stage.name}.trainer.{name}")

    betas = [trainer("adam_beta1").value, trainer("adam_beta2").value]
    accumulation = stage.batch_size // (runtime.processes * runtime.micro_batch(stage.kind))
    half = trainer("fp16").value is True
    bf16 = trainer("bf16").value
    return {
        "zero_optimization.stage": Setting(runtime.zero_stage, "runtime.zero_stage"),
        "train_batch_size": Setting(stage.batch_size, f"stages.{stage.name}.batch_size"),
        "train_micro_batch_size_per_gpu": Setting(runtime.micro_batch(stage.kind), "runtime.micro_batch_size"),
        "gradient_accumulation_steps": Setting(
            accumulation, f"stages.{stage.name}.batch_size / (runtime.processes x runtime.micro_batch_size)"
        ),
        "gradient_clipping": trainer("max_grad_norm"),
        "bf16.enabled": Setting(not half if bf16 is None else bf16, f"stages.{stage.name}.trainer.bf16"),
        "fp16.enabled": Setting(half, f"stages.{stage.name}.trainer.fp16"),
        "optimizer.params.lr": trainer("learning_rate"),
        "optimizer.params.betas": Setting(betas, f"stages.{stage.name}.trainer.adam_beta1 and adam_beta2"),
        "optimizer.params.eps": trainer("adam_epsilon"),
        "optimizer.params.weight_decay": trainer("weight_decay"),
        "scheduler.params.warmup_max_lr": trainer("learning_rate"),
        "scheduler.params.warmup_min_lr": Setting(0, "the trainer's schedule"),
    }


def trainer_value(stage: ModelStage, name: str) -> Any:
    """Return a trainer field as written, else TRL's default."""
    return stage.trainer.get(name, default(stage.kind, name))


def deepspeed_file_agrees(pipeline: Pipeline) -> Iterator[Finding]:
    """A DeepSpeed file is JSON, and no literal in it contradicts the trainer of a stage."""
    runtime = pipeline.runtime
    if runtime.deepspeed_config is None or runtime.zero_stage == 0:
        return
    found = read_file(Path(runtime.deepspeed_config))
    texts = [found] if isinstance(found, str) else []
    if not isinstance(found, str):
        for stage in pipeline.stages:
            if isinstance(stage, ModelStage):
                texts += _contradictions(found, stage, runtime)
    for text in dict.fromkeys(texts):
        yield ("runtime", "deepspeed_config"), text


def read_file(path: Path) -> dict[str, Any] | str:
    """Return the content of a DeepSpeed file, or what is wrong with it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError as error:
        return f"is not JSON ({error})"
    return content if isinstance(content, dict) else "must hold a JSON object"


def _contradictions(content: dict[str, Any], stage: ModelStage, runtime: Runtime) -> Iterator[str]:
    wanted = settings(stage, runtime)
    for key, value in flat(content):
        if value == AUTO and key not in wanted and key not in BY_HIDDEN_SIZE and key not in BY_LENGTH:
            yield f'{key} = "auto", which nothing fills; write a value or remove the key'
        elif value == AUTO and key == "zero_optimization.stage":
            yield f'{key} = "auto", which nothing fills; write {runtime.zero_stage}'
    for key, setting in wanted.items():
        value = look_up(content, key, NEEDED.get(key, AUTO))
        if value is None:
            yield f'has no {key}; write "auto", which becomes {setting.value}'
        elif value != AUTO and value != setting.value:
            written = (
                f"{key} = {json.dumps(value)}" if look_up(content, key) is not None else f"has no {key} (so {value})"
            )
            yield f'{written}, {setting.key} is {json.dumps(setting.value)}; write "auto", or make them equal'
    yield from _other_engines(content, stage)


def _other_engines(content: dict[str, Any], stage: ModelStage) -> Iterator[str]:
    """An optimizer or scheduler of DeepSpeed's takes the place of the trainer's: it must be the same one."""
    optimizer, scheduler = look_up(content, "optimizer.type"), look_up(content, "scheduler.type")
    asked = str(stage.trainer.get("optim", "adamw_torch_fused"))
    if optimizer is not None and (optimizer not in OPTIMIZERS or not asked.startswith("adamw")):
        yield (
            f"optimizer.type = {json.dumps(optimizer)} would replace stages.{stage.name}.trainer.optim {asked}; "
            "remove the optimizer block"
        )
    schedule = str(trainer_value(stage, "lr_scheduler_type"))
    if scheduler is not None and SCHEDULERS.get(scheduler) != schedule:
        yield (
            f"scheduler.type = {json.dumps(scheduler)} would replace stages.{stage.name}.trainer.lr_scheduler_type "
            f"{schedule}; remove the scheduler block"
        )


def auto_lines(pipeline: Pipeline) -> list[str]:
    """Return for `posttrain plan` what the `auto` values of the DeepSpeed file become, one line a group of stages."""
    runtime = pipeline.runtime
    if runtime.deepspeed_config is None or runtime.zero_stage == 0:
        return []
    content = read_file(Path(runtime.deepspeed_config))
    assert isinstance(content, dict), content  # loading the pipeline has refused any other
    automatic = [key for key, value in flat(content) if value == AUTO]
    stages = [stage for stage in pipeline.stages if isinstance(stage, ModelStage)]
    filled: dict[str, list[str]] = {}
    for stage in stages:
        known = settings(stage, runtime)
        words = [f"{key} {json.dumps(known[key].value)}" for key in automatic if key in known]
        words += [f"{key} from {BY_HIDDEN_SIZE[key]}" for key in automatic if key in BY_HIDDEN_SIZE]
        words += [f"{key} from the number of steps" for key in automatic if key in BY_LENGTH]
        filled.setdefault(", ".join(words) or "nothing is auto", []).append(stage.name)
    return [f"{runtime.deepspeed_config}, auto for {', '.join(names)}: {text}" for text, names in filled.items()]


def flat(content: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value of a nested mapping with its key path, dots between."""
    for key, value in content.items():
        path = f"{above}.{key}" if above else key
        if isinstance(value, dict):
            yield from flat(value, path)
        else:
            yield path, value


def look_up(content: dict[str, Any], path: str, absent: Any = None) -> Any:
    """Return the value at a key path, or `absent`."""
    node: Any = content
    for key in path.split("."):
        if not isinstance(node, dict) or key not in node:
            return absent
        node = node[key]
    return node
