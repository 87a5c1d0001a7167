"""Whether the disk has room for what a run will leave: told before its first stage, not at the save of its last.

Counted are the weights of the stages to do and the checkpoints of the hungriest of them, from the parameter count of
the largest model's config; rows, logs and metrics are small beside them. Stages that train an adapter leave less than
counted.
"""

import shutil
from pathlib import Path

from data.errors import UserError
from launch.words import size
from training.config import Pipeline
from training.config.stage_base import SurgeryStage
from training.config.stages import ModelStage
from training.estimate.known_models import find_config
from training.estimate.parameters import count
from training.estimate.shape import shape_of
from training.estimate.stage_shapes import stage_shapes
from training.plan import PlannedStage

CHECKPOINT_BYTES = 12
"""Of a parameter: the float32 weight and AdamW's two moments."""
WEIGHT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}


def bytes_needed(pipeline: Pipeline, planned: list[PlannedStage]) -> int:
    """Bytes that those of `planned` without a record will write at most; 0 where the model's size cannot be told."""
    try:
        base = shape_of(find_config(pipeline.model))
    except UserError:
        return 0
    shapes = stage_shapes(pipeline, base)
    parameters = max(count(shape).total for shape in [base, *shapes.values()])
    to_do = [each.stage for each in planned if each.state != "done"]
    training = [stage for stage in to_do if isinstance(stage, ModelStage)]
    whole = [stage for stage in training if stage.lora is None]
    kept = pipeline.runtime.keep_checkpoints + 1 if pipeline.runtime.checkpoint_every else 1
    merged = [stage for stage in training if stage.lora is None or stage.lora.save == "merged"]
    weights = sum(WEIGHT_BYTES[stage.save_dtype] for stage in merged)
    made = [stage for stage in to_do if isinstance(stage, SurgeryStage)]
    surgery = sum(count(shapes[stage.name]).total * WEIGHT_BYTES[stage.save_dtype or "float32"] for stage in made)
    return surgery + parameters * (weights + (CHECKPOINT_BYTES * kept if whole else 0))


def require_room(pipeline: Pipeline, folder: Path, planned: list[PlannedStage]) -> None:
    """Refuse a run whose folder's disk cannot hold what these stages will write."""
    needed, free = bytes_needed(pipeline, planned), shutil.disk_usage(folder).free
    if free < needed:
        raise UserError(
            f"no space left for this run: {size(free)} are free in {folder}, its weights and checkpoints take up to "
            f"{size(needed)}; make room, lower runtime.keep_checkpoints, or set runtime.runs_dir to another disk"
        )
