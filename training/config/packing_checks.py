"""Rules of packing: what TRL would refuse with a traceback, and what would train rows as if they were one text."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import TrainingStage


def packed_rows_stay_apart(pipeline: Pipeline) -> Iterator[Finding]:
    """Rows that share a packed row neither see each other nor are cut at its end into two."""
    for at, stage in _training(pipeline):
        if stage.trainer.get("packing_strategy") == "wrapped":
            yield (
                (*at, "packing_strategy"),
                "lets rows see their neighbours in a packed row and tears the last one; use bfd, which keeps the loss "
                "of each row, or bfd_split, which cuts only what exceeds max_length",
            )


def rows_without_padding_are_packed(pipeline: Pipeline) -> Iterator[Finding]:
    """`padding_free` alone would enforce no `max_length`."""
    for at, stage in _training(pipeline):
        if stage.trainer.get("padding_free") is True and stage.trainer.get("packing") is not True:
            yield (*at, "padding_free"), "enforces no max_length without packing; write packing: true in its place"


def _training(pipeline: Pipeline) -> Iterator[tuple[KeyPath, TrainingStage]]:
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, TrainingStage):
            yield ("stages", index, "trainer"), stage


RULES = (packed_rows_stay_apart, rows_without_padding_are_packed)
