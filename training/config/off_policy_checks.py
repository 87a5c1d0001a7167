"""Rules of `one_step_off_policy`: nothing beside it that needs the present weights while completions are drawn."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import GrpoStage

KEY = "one_step_off_policy"


def rounds_ahead_need_no_present_weights(pipeline: Pipeline) -> Iterator[Finding]:
    """A stage that draws a round ahead has a sampler with whole weights of its own, and is corrected for their age."""
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, GrpoStage) and stage.one_step_off_policy:
            for key, text in _findings(stage, pipeline):
                yield ("stages", index, *key), text


def _findings(stage: GrpoStage, pipeline: Pipeline) -> Iterator[tuple[KeyPath, str]]:
    vllm = pipeline.runtime.vllm
    if stage.dynamic_sampling is not None:
        yield ("dynamic_sampling",), f"scores a round before its refills are drawn; remove it, or {KEY}"
    if stage.tools:
        yield ("tools",), f"are called between turns, which cannot be drawn ahead; remove them, or {KEY}"
    if stage.environment is not None:
        yield ("environment",), f"is acted in between turns, which cannot be drawn ahead; remove it, or {KEY}"
    if stage.lora is not None:
        yield ("lora",), f"adapters are there to save memory, and {KEY} keeps the whole weights twice; remove one"
    if pipeline.runtime.zero_stage == 3:
        yield (KEY,), "needs whole weights on every rank; with it use runtime.zero_stage: 2 or less"
    if stage.rollout == "vllm" and vllm is not None and vllm.mode != "process":
        yield (KEY,), f"TRL's mode {vllm.mode} draws on the main thread; use runtime.vllm.mode: process, or remove it"
    if stage.trainer.get("vllm_importance_sampling_correction") is False:
        at = ("trainer", "vllm_importance_sampling_correction")
        yield at, f"completions of older weights would pass for the policy's own; remove it, or {KEY}"
    if stage.trainer.get("cast_lm_head_to_fp32"):
        yield ("trainer", "cast_lm_head_to_fp32"), f"the sampler's copy would have another head; remove it, or {KEY}"


RULES = (rounds_ahead_need_no_present_weights,)
