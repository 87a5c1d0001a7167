"""A stage under its tracker: opened before it runs, told what it left, closed however it ends. Rank 0 alone has one.

What a tracker has against a run never ends it (`training.guarded_tracker`).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from training.context import StageContext
from training.guarded_tracker import open_guarded
from training.record import read_record
from training.tracker import NullTracker, open_tracker


@contextmanager
def tracked(context: StageContext) -> Iterator[None]:
    """Have the stage's tracker in `context.tracker` inside the block; an exception is told as a failure."""
    if context.world.is_main:
        asked = partial(
            open_tracker,
            context.pipeline.runtime,
            context.pipeline.name,
            context.planned.name,
            context.planned.kind,
            tracked_config(context),
            context.folder,
            offline=context.pipeline.offline,
        )
        context.tracker = open_guarded(asked, context.say)
    try:
        yield
    except BaseException:
        context.tracker.finish("failed")
        raise
    context.tracker.finish()


def tracked_config(context: StageContext) -> dict[str, Any]:
    """The stage's block as resolved, with what else decides it: pipeline, runtime, fingerprints."""
    pipeline = context.pipeline
    whole = pipeline.model_dump(mode="json", include={"name", "model", "seed", "system", "chat_template"})
    runtime = pipeline.runtime.model_dump(mode="json", exclude={"runs_dir", "slurm"})
    parents = {name: context.plan[name].fingerprint for name in context.planned.parents}
    return {
        **context.stage.model_dump(mode="json"),
        "pipeline": whole,
        "runtime": runtime,
        "fingerprint": context.planned.fingerprint,
        "parents": parents,
    }


def tell_preempted(context: StageContext) -> None:
    """Close the tracker of a stage that goes on another time."""
    context.tracker.finish("preempted")
    context.tracker = NullTracker()


def tell_result(context: StageContext) -> None:
    """Tell the tracker the final metrics and the artifacts of a stage that has its record."""
    record = read_record(context.folder)
    assert record is not None
    parents = [(context.folder_of(name), context.record_of(name)) for name in context.planned.parents]
    context.tracker.summary(record["metrics"])
    context.tracker.artifacts(context.folder, record, parents)
