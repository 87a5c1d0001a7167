"""What a finished stage's record says; docs/architecture.md lists the fields."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from training import packed_linear
from training.context import StageContext, StageResult
from training.environment import describe_environment, device_name
from training.identity import file_sha256
from training.interventions import interventions
from training.model_files import model_files
from training.record import SCHEMA_VERSION, flush, record_sha256
from training.vllm_environment import vllm_python, vllm_versions


def stage_record(context: StageContext, result: StageResult, ledger: dict[str, Any]) -> dict[str, Any]:
    """The record of a finished stage, as docs/architecture.md lists it."""
    import torch

    runtime = context.pipeline.runtime
    parents = [
        {
            "stage": name,
            "fingerprint": context.plan[name].fingerprint,
            "folder": context.folder_of(name).name,
            "record_sha256": record_sha256(context.folder_of(name)),
        }
        for name in context.planned.parents
    ]
    model = context.folder / "model"
    paths = [context.folder / name for name in result.files]
    if model.is_dir():
        paths += model_files(model)
    environment = describe_environment() | {
        "device": device_name(),
        "processes": context.world.size,
        "micro_batch_size": runtime.micro_batch(context.planned.kind),
        "threads_per_process": torch.get_num_threads(),
        "zero_stage": runtime.zero_stage,
    }
    if getattr(context.stage, "rollout", None) == "vllm":
        block = runtime.vllm
        assert block is not None
        environment["vllm"] = {"mode": block.mode, "packages": vllm_versions(vllm_python(block))}
    if packed_linear.used:
        environment["packed_for"] = sorted(packed_linear.used)
    if result.rewards:
        environment |= {
            "reward_time_limit": runtime.reward_time_limit,
            "reward_memory_gb": runtime.reward_memory_gb,
        }
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": context.planned.kind,
        "stage": context.planned.name,
        "pipeline": context.pipeline.name,
        "fingerprint": context.planned.fingerprint,
        "parents": parents,
        "config": context.stage.model_dump(mode="json")
        if context.stage is not None
        else {"model": context.pipeline.model},
        "identity": context.planned.identity,
        "seed": context.seed if context.stage is not None else context.pipeline.seed,
        "data": result.data,
        "rewards": result.rewards,
        **result.tokenizer_facts,
        "files": {str(path.relative_to(context.folder)): flushed_sha256(path) for path in paths},
        "metrics": result.metrics,
        "kept_probe": result.kept_probe,
        "ledger": ledger,
        "interventions": interventions(context.folder),
        "environment": environment,
        "started_at": context.started_at,
        "finished_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def flushed_sha256(path: Path) -> str:
    """Hash a file that is on disk: a record must not outlive what it proves."""
    flush(path)
    return file_sha256(path)
