"""Checks of a stage's `trainer:` block against the installed TRL's config classes, on the file's tree."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from training.config.document import Document, KeyPath
from training.config.errors import Problem
from training.config.trainer_fields import CLASSES, CONFIG_CLASSES, Refused, fields, unaccepted
from training.config.unknown_keys import BATCH_FIELDS, batch_advice, unknown_trainer_field


def trainer_problems(document: Document) -> Iterator[Problem]:
    """Yield a problem for every trainer field that is unknown, refused, or has a value of the wrong kind."""
    stages = document.value(("stages",))
    for index, stage in enumerate(stages if isinstance(stages, list) else []):
        kind = stage.get("kind") if isinstance(stage, dict) else None
        block: Any = document.value(("stages", index, "trainer"))
        if not isinstance(kind, str) or kind not in CONFIG_CLASSES or not isinstance(block, dict):
            continue
        for name, value in block.items():
            if name == BATCH_FIELDS[1] and BATCH_FIELDS[0] in block:
                continue  # one message tells what to write for both
            at: KeyPath = ("stages", index, "trainer", name)
            text = _text(document, at, kind, name, value)
            if text:
                yield document.problem(at, text)


def _text(document: Document, at: KeyPath, kind: str, name: str, value: Any) -> str | None:
    if name not in fields(kind):
        return unknown_trainer_field(document, at, kind)
    if name in BATCH_FIELDS:
        return batch_advice(document, at[:2])
    treatment = CLASSES[name]
    if isinstance(treatment, Refused):
        return f"is not set here: {treatment.reason}"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a finite number"
    if name == "max_steps" and value == 0:
        return "would train by epochs, as -1 does; write 1 or more, or leave it out"
    words = unaccepted(kind, name, value)
    return None if words is None else f"must be {words}"
