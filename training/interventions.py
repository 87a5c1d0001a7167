"""What was done to a stage while it ran, in `interventions.json` of its folder until the record takes it up.

Imports nothing heavy: the plan reads interventions from records, since they are part of the children's fingerprints.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

INTERVENTIONS = "interventions.json"
IDENTITY = ("action", "step", "detector", "to_step", "learning_rate")
"""What makes two interventions the same; their words and files do not."""


def interventions(folder: Path) -> list[dict[str, Any]]:
    """Every intervention in the stage so far, oldest first."""
    try:
        found: list[dict[str, Any]] = json.loads((folder / INTERVENTIONS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    return found


def identity_of(record: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a child's fingerprint takes up of a finished stage's interventions; [] where there were none."""
    found = (record or {}).get("interventions") or []
    return [{key: one[key] for key in IDENTITY if key in one} for one in found]
