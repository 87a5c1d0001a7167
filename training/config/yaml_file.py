"""Reading YAML 1.2 into plain Python with the line of every key and item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML


def read_yaml(path: Path) -> Any:
    """Return the file's content as plain Python."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
