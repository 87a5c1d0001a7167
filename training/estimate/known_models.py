"""Find a model's config.json without network, torch or a conversion; what is nowhere here has a published table."""

import json
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.home import from_home
from training.bundled import bundled_spec
from training.estimate.published import BUNDLED_CONFIGS, KNOWN, published_config
from training.hub_cache import cached_commit, cached_repository, hub_cache


def find_config(model: str) -> dict[str, Any]:
    """Return the config of `bundled:NAME`, a local folder, a hub id in the local cache, or a published architecture.

    A UserError says what to do for a model that is none of them.
    """
    if model.startswith("bundled:"):
        name = model.removeprefix("bundled:")
        bundled_spec(name)
        return BUNDLED_CONFIGS[name]
    folder = from_home(model)
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UserError(f"model: {model} has no config.json; give a folder in transformers format")
        return _read(folder / "config.json")
    cached = cached_config(model)
    if cached is not None:
        return _read(cached)
    published = published_config(model)
    if published is None:
        name, _, revision = model.partition("@")
        raise UserError(
            f"model: {model} is neither a folder here, nor in the hub's cache ({hub_cache()}), nor among the "
            f"{len(KNOWN)} published models the planner knows; fetch its config: hf download {name} config.json"
            + (f" --revision {revision}" if revision else "")
        )
    return published


def cached_config(model: str) -> Path | None:
    """The cached config.json of `owner/name[@revision]`: a commit's own snapshot, or the one its branch points at."""
    name, _, revision = model.partition("@")
    commit = cached_commit("model", name, revision or "main") or revision
    path = cached_repository("model", name) / "snapshots" / commit / "config.json"
    return path if commit and path.is_file() else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise UserError(f"model: {path} cannot be read as JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise UserError(f"model: {path} holds no JSON object; fetch it again")
    return content
