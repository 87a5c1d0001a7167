"""The model of a stage's best probe (`training.probe`), kept beside its checkpoints until the stage is recorded."""

import shutil

from training.context import StageContext
from training.world import barrier

BEST = "best"


def take_best(context: StageContext) -> bool:
    """Copy the best probe's model to where the stage's belongs; returns whether there is one."""
    best, model = context.folder / BEST, context.folder / "model"
    kept = best.is_dir()
    if kept and context.world.is_main:
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(best, model, symlinks=True)
    barrier(context.world)
    return kept
