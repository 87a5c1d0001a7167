"""The part of a stage that makes it the experiment it is, as plain JSON; what merely says where or how is left out."""

from __future__ import annotations

from typing import Any

from training.config.stages import StageBase


def identity_block(stage: StageBase) -> dict[str, Any]:
    """Return a stage's experiment as plain JSON: no names, paths, gates or neutral fields, no filled-in defaults."""
    left_out = {"name", "from_", "parent", "seed", "gate", "allow_template_change", "max_error_rate"}
    if stage.kind in ("sample", "evaluate"):
        left_out.add("batch_size")
    return stage.model_dump(mode="json", exclude=left_out)
