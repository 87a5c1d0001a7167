"""The model of a stage's best probe (`training.probe`), kept beside its checkpoints until the stage is recorded.

It lies in `best-<step>` of the stage's folder, renamed once it is written: the name stands for a whole model. An
earlier best stays as long as a resume may need it: a checkpoint from before the newer one is still there.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from training.checkpoint import committed, step_of
from training.context import StageContext
from training.json_lines import whole_lines
from training.whole_folder import settle
from training.world import gather

_NAME = re.compile(r"best-(\d+)")
UNFINISHED = "best.new"
"""Where a best model is written; as deep as `model/`, since an adapter names its base relative to its own folder."""


def best_folder(folder: Path, step: int) -> Path:
    """Where the stage in `folder` keeps the model of step `step`."""
    return folder / f"best-{step}"


def kept_steps(folder: Path) -> list[int]:
    """The steps whose models are kept, in order."""
    found = [_NAME.fullmatch(path.name) for path in folder.glob("best-*")]
    return sorted(int(match[1]) for match in found if match)


def keep_best(folder: Path, step: int) -> None:
    """Let what was written to `best.new` be the stage's best model; rank 0 alone."""
    best = best_folder(folder, step)
    shutil.rmtree(best, ignore_errors=True)
    settle(folder / UNFINISHED, best)
    drop_surpassed(folder)


def drop_surpassed(folder: Path) -> None:
    """Remove the best models that neither the run nor a resume from one of its checkpoints needs; rank 0 alone.

    A resume needs the best up to its checkpoint.
    """
    kept = kept_steps(folder)
    resumable = [step_of(path) for path in committed(folder / "checkpoints")]
    needed = {max((step for step in kept if step <= at), default=None) for at in resumable}
    _drop(folder, [step for step in kept[:-1] if step not in needed])


def drop_best(folder: Path) -> None:
    """Remove every best model that is kept or was being written; rank 0 alone."""
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    _drop(folder, kept_steps(folder))


def _drop(folder: Path, steps: list[int]) -> None:
    for step in steps:
        shutil.rmtree(best_folder(folder, step), ignore_errors=True)


def restore_best(folder: Path, probes: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """Return of `probes`, (step, accuracy) up to the checkpoint, the best whose model is kept and those after it.

    A model of none of them, or that a later one is better than, is removed, and then they are none: a rollback made
    them doubtful, or the checkpoint is an older one than the model. Rank 0 alone.
    """
    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    kept = kept_steps(folder)
    for step in reversed(kept):
        since = [probe for probe in probes if probe[0] >= step]
        if since and since[0] == (step, max(accuracy for _, accuracy in since)):
            _drop(folder, [other for other in kept if other > step])
            drop_surpassed(folder)
            return since
    drop_best(folder)
    return []


def take_best(context: StageContext, metrics: Path) -> dict[str, Any] | None:
    """Copy the best probe's model to where the stage's belongs; returns its suite, step and accuracy, None if the stage
    keeps no best. `metrics` is the stage's metrics.jsonl, written to its end."""
    kept = _take(context, metrics) if context.world.is_main else None
    found: dict[str, Any] | None = gather(context.world, kept)[0]
    return found


def _take(context: StageContext, metrics: Path) -> dict[str, Any] | None:
    steps = kept_steps(context.folder)
    if not steps:
        return None
    step, suite, model = steps[-1], context.stage.probe.keep_best, context.folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    shutil.copytree(best_folder(context.folder, step), model, symlinks=True)
    (accuracy,) = [row[f"probe/{suite}/accuracy"] for row in whole_lines(metrics) if row["step"] == step]
    return {"suite": suite, "step": step, "accuracy": accuracy}
