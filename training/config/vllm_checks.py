"""Rules between a grpo stage's `rollout`, its trainer fields and `runtime.vllm`."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import GrpoStage
from training.config.vllm import Vllm

EXAMPLES = "{mode: colocate}, {mode: server, server: http://HOST:8000} or {mode: process, python: PATH}"
COLOCATE_FIELDS = (
    "vllm_tensor_parallel_size",
    "vllm_max_model_length",
    "vllm_enable_sleep_mode",
    "vllm_model_impl",
    "vllm_gpu_memory_utilization",
)
SERVER_FIELDS = ("vllm_server_timeout", "vllm_group_port")
FIELDS_OF_MODE = {
    "colocate": COLOCATE_FIELDS,
    "server": SERVER_FIELDS,
    "process": ("vllm_max_model_length", "vllm_gpu_memory_utilization"),
}
"""The fields of TRL's GRPOConfig that each mode heeds, beside those of the importance correction."""


def vllm_stages_say_how_and_others_do_not(pipeline: Pipeline) -> Iterator[Finding]:
    """`rollout: vllm` and `runtime.vllm` stand together."""
    stages = [
        (index, stage)
        for index, stage in enumerate(pipeline.stages)
        if isinstance(stage, GrpoStage) and stage.rollout == "vllm"
    ]
    if pipeline.runtime.vllm is not None and not stages:
        yield ("runtime", "vllm"), "no grpo stage says rollout: vllm, so it would be ignored; remove it"
    for index, stage in stages:
        if pipeline.runtime.vllm is None:
            yield ("stages", index, "rollout"), f"is vllm; say how it is reached: runtime.vllm: {EXAMPLES}"
        if stage.dynamic_sampling is not None:
            at: KeyPath = ("stages", index, "dynamic_sampling")
            yield at, "draws its refills with posttrain's own sampler; remove it, or set rollout: transformers"
        if stage.tools:
            yield ("stages", index, "tools"), "have turns that posttrain draws itself; set rollout: transformers"
        if stage.environment is not None:
            words = "has turns that posttrain draws itself; set rollout: transformers"
            yield ("stages", index, "environment"), words


def vllm_fields_are_heeded(pipeline: Pipeline) -> Iterator[Finding]:
    """No field of the trainer is one that the stage's rollouts would ignore, or that would make them wrong."""
    block = pipeline.runtime.vllm
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, GrpoStage):
            continue
        for name in [name for name in stage.trainer if name.startswith("vllm_")]:
            at: KeyPath = ("stages", index, "trainer", name)
            corrects = name.startswith("vllm_importance_sampling_")
            if stage.rollout != "vllm" and not (corrects and stage.one_step_off_policy):
                yield at, "would be ignored with rollout: transformers; remove it, or set rollout: vllm"
            elif block is not None and not corrects:
                heeded = FIELDS_OF_MODE[block.mode]
                if name not in heeded:
                    yield at, f"would be ignored with runtime.vllm.mode {block.mode}, which heeds {', '.join(heeded)}"
        if stage.rollout == "vllm" or stage.one_step_off_policy:
            for key, text in _unprovable(stage, block):
                yield ("stages", index, *key), text


def _unprovable(stage: GrpoStage, block: Vllm | None) -> Iterator[Finding]:
    trainer = stage.trainer
    if (trainer.get("top_p") or 1.0) != 1.0:
        wants = "rollout: vllm" if stage.rollout == "vllm" else "one_step_off_policy"
        text = "the sampler's log-probabilities would be of the nucleus, the trainer's of all tokens"
        yield ("trainer", "top_p"), f"{text}; with {wants} use 1.0"
    if trainer.get("loss_type") == "vespo" and trainer.get("vllm_importance_sampling_correction", True):
        mode = trainer.get("vllm_importance_sampling_mode", "sequence_mask")
        if mode not in ("token_truncate", "token_mask"):
            text = f"vespo takes importance ratios of tokens, not {mode}; write token_truncate or token_mask"
            yield ("trainer", "loss_type"), f"{text} as vllm_importance_sampling_mode"
    vllm = block if stage.rollout == "vllm" else None
    if vllm is not None and vllm.mode == "process" and stage.lora is not None and stage.lora.quantize is not None:
        yield (
            ("lora", "quantize"),
            "quantised weights cannot be sent to vLLM in mode process; remove it, or use colocate",
        )


RULES = (vllm_stages_say_how_and_others_do_not, vllm_fields_are_heeded)
