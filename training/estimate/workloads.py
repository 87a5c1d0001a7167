"""From a stage of a pipeline to what the estimators need: the workload of one rank, its lengths and its amount."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil
from pathlib import Path
from typing import Any, Literal

from data.errors import UserError
from data.generalisation import PARTS
from training.config import (
    EvaluateStage,
    ExportStage,
    GrpoStage,
    LikelihoodStage,
    Lora,
    Pipeline,
    Runtime,
    SampleStage,
    Stage,
    SurgeryStage,
    TrainingStage,
)
from training.estimate.batch_algebra import BatchAlgebra, Trained, algebra, num_rows, setting
from training.estimate.workload import Adapters, Dtype, Workload

ASSUMED_PROMPT = 256
"""Tokens of a prompt where no limit (data.max_prompt_tokens) says and no ledger measured it."""
PACKING_PAYS_FROM = 16
"""Tokens of a completion from which weights are laid out anew for drawing (training.packed_linear)."""
ROLLOUT_ROWS = 64
"""Completions that a rank decodes together in GRPO (training.grpo)."""
Reference = Literal["none", "copy", "precomputed", "adapter_off"]


class CannotEstimate(Exception):
    """Nothing in the config, on this machine or in a ledger tells; the message says what is missing."""


@dataclass(frozen=True)
class Job:
    """All work of one rank in one stage.

    `updates` optimizer steps (None: unknown), each with a `share` of rollout rounds; `decoded` completions are drawn in
    a round (training) or in the whole stage (sample and evaluate; None: unknown). `old_logprobs` forwards are made over
    every completion of an update. `prompt_limited` says that the prompt's length is a limit and no assumption,
    `packed` that rows are full, `benchmarks` that there is more to decode, which nobody knows.
    """

    workload: Workload
    algebra: BatchAlgebra | None
    updates: float | None
    rounds_per_update: float
    decoded: float | None
    draws: int
    old_logprobs: float
    prompt_limited: bool
    packed: bool = False
    benchmarks: bool = False


def job_of(pipeline: Pipeline, stage: Stage, runtime: Runtime, device: Literal["cpu", "gpu"]) -> Job:
    """Return the work that a stage is for one of `runtime.processes` ranks."""
    if isinstance(stage, TrainingStage):
        return training_job(stage, algebra(pipeline, stage, runtime), runtime, device)
    if isinstance(stage, SampleStage):
        rows, _ = num_rows(pipeline, stage.data)
        drawn = None if rows is None else rows * stage.draws
        return decoding_job(stage, drawn, runtime.processes, device, runtime.fast_paths)
    if isinstance(stage, SurgeryStage | ExportStage):
        raise CannotEstimate("it copies weights, as fast as the disk is")
    items = sum(pipeline.suites[name].items for name in stage.suites)
    apart = 0 if stage.generalisation is None else len(PARTS) * stage.generalisation.items
    drawn = items * (1 + stage.draws) + apart
    job = decoding_job(stage, drawn or None, runtime.processes, device, runtime.fast_paths)
    return replace(job, benchmarks=bool(stage.benchmarks))


def decoding_job(
    stage: SampleStage | EvaluateStage,
    drawn: int | None,
    ranks: int,
    device: Literal["cpu", "gpu"],
    fast_paths: bool = True,
) -> Job:
    """The work of a rank in a stage that draws so many completions over all ranks."""
    limit = stage.data.max_prompt_tokens if isinstance(stage, SampleStage) else None
    prompt = limit or ASSUMED_PROMPT
    workload = Workload(
        kind=stage.kind,
        ranks=ranks,
        device=device,
        prompt_length=prompt,
        completion_length=stage.max_completion_length,
        sequence_length=prompt + stage.max_completion_length,
        generation_rows=stage.batch_size,
        compute_dtype=stage.dtype,
    )
    workload = replace(workload, packs=fast_paths and _may_pack(workload, stage.max_completion_length))
    draws = stage.draws if isinstance(stage, SampleStage) else 1
    return Job(workload, None, None, 0.0, None if drawn is None else drawn / ranks, draws, 0.0, limit is not None)


def training_job(stage: Trained, sizes: BatchAlgebra, runtime: Runtime, device: Literal["cpu", "gpu"]) -> Job:
    """The work of a rank in a stage that trains."""
    offload_optimizer, offload_parameters = _offloads(runtime)
    workload = Workload(
        kind=stage.kind,
        ranks=runtime.processes,
        device=device,
        zero_stage=runtime.zero_stage,
        offload_optimizer=offload_optimizer,
        offload_parameters=offload_parameters,
        micro_batch=runtime.micro_batch(stage.kind),
        accumulation=sizes.accumulation,
        compute_dtype=compute_dtype(stage.trainer),
        checkpointing=bool(setting(stage, "gradient_checkpointing")),
        attention=stage.attention or "sdpa",
        lora=None if stage.lora is None else _adapters(stage.lora),
        reference=_reference(stage),
    )
    prompt = stage.data.max_prompt_tokens or ASSUMED_PROMPT
    if not isinstance(stage, GrpoStage):
        length = setting(stage, "max_length")
        if type(length) is not int:
            raise CannotEstimate(f"stages.{stage.name}.trainer.max_length is null, so nothing bounds a row")
        scored = 1 / length if stage.kind == "reward_model" else 1.0  # its head looks at one position
        workload = replace(workload, sequence_length=length, trained_share=scored)
        packed = isinstance(stage, LikelihoodStage) and bool(setting(stage, "packing"))
        limited = stage.data.max_prompt_tokens is not None
        return Job(workload, sizes, sizes.updates, 0.0, None, 1, 0.0, limited, packed)
    completion = int(setting(stage, "max_completion_length"))
    workload = replace(
        workload,
        sequence_length=prompt + completion,
        prompt_length=prompt,
        completion_length=completion,
        generation_rows=min(ROLLOUT_ROWS, sizes.round_size // runtime.processes),
        trained_share=completion / (prompt + completion),
        contexts=_contexts(stage, sizes, workload, runtime.fast_paths),
        packs=runtime.fast_paths and stage.rollout == "transformers" and _may_pack(workload, completion),
        copies_policy=stage.one_step_off_policy and stage.rollout == "transformers",
    )
    scores_first = sizes.updates_per_round > 1 or stage.one_step_off_policy
    old_logprobs = 1 / int(setting(stage, "num_iterations")) if scores_first else 0.0
    return Job(
        workload,
        sizes,
        sizes.updates,
        1 / sizes.updates_per_round,
        sizes.round_size / runtime.processes,
        sizes.group,
        old_logprobs,
        stage.data.max_prompt_tokens is not None,
    )


def compute_dtype(trainer: Mapping[str, Any]) -> Dtype:
    """The dtype of the matrix products; TRL's `bf16` is true unless `bf16` or `fp16` says otherwise."""
    if trainer.get("fp16"):
        return "float16"
    return "bfloat16" if trainer.get("bf16") in (None, True) else "float32"


def _contexts(stage: GrpoStage, sizes: BatchAlgebra, workload: Workload, fast_paths: bool) -> int | None:
    """Prompts of a micro-batch; sharing completions among ranks by their work may cut one more group."""
    drops_out = stage.lora is not None and stage.lora.dropout > 0
    if workload.device == "gpu" or workload.checkpointing or drops_out or not fast_paths:
        return None
    groups = ceil(workload.micro_batch / sizes.group) + (workload.ranks > 1)
    return min(workload.micro_batch, groups)


def _may_pack(workload: Workload, completion: int) -> bool:
    """Whether drawing may lay out the weights anew for the CPU (`training.packed_linear.why_model_not_packed`)."""
    plain = workload.device == "cpu" and workload.compute_dtype == "float32" and workload.lora is None
    return plain and completion >= PACKING_PAYS_FROM


def _adapters(lora: Lora) -> Adapters:
    targets: Any = lora.target_modules if lora.target_modules == "all-linear" else tuple(lora.target_modules)
    return Adapters(lora.r, targets, lora.quantize is not None, lora.save == "merged")


def _reference(stage: Trained) -> Reference:
    if stage.kind in ("pretrain", "sft", "reward_model") or (
        stage.kind == "grpo" and float(setting(stage, "beta")) == 0.0
    ):
        return "none"
    if stage.kind == "dpo" and setting(stage, "precompute_ref_log_probs"):
        return "precomputed"
    return "copy" if stage.lora is None else "adapter_off"


def _offloads(runtime: Runtime) -> tuple[bool, bool]:
    """Whether runtime.deepspeed_config keeps the optimizer, and the parameters, in the host's memory."""
    if runtime.deepspeed_config is None:
        return False, False
    try:
        settings = json.loads(Path(runtime.deepspeed_config).read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"runtime.deepspeed_config: {runtime.deepspeed_config} cannot be read: {error}") from error
    zero = settings.get("zero_optimization", {})
    devices = [(zero.get(key) or {}).get("device", "none") for key in ("offload_optimizer", "offload_param")]
    return devices[0] != "none", devices[1] != "none"
