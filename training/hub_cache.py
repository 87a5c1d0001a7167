"""Where the hub's local cache lies, and which commit it has for a branch: read as files, without huggingface_hub.

The layout is huggingface_hub's: `<cache>/<kind>s--owner--name/refs/<branch>` holds the commit that the branch meant
when it was last fetched, `snapshots/<commit>/` its files. Nothing is downloaded or written here.
"""

import os
from pathlib import Path
from typing import Literal

from data.home import from_home

RepoKind = Literal["model", "dataset"]


def hub_cache() -> Path:
    """The folder of huggingface_hub's cache, by the same environment variables (huggingface_hub.constants)."""
    for name, below in (("HF_HUB_CACHE", ""), ("HUGGINGFACE_HUB_CACHE", ""), ("HF_HOME", "hub")):
        if name in os.environ:
            return from_home(os.path.expandvars(os.environ[name])) / below
    return from_home(os.path.expandvars(os.environ.get("XDG_CACHE_HOME", "~/.cache"))) / "huggingface" / "hub"


def cached_repository(kind: RepoKind, name: str) -> Path:
    """The folder that the cache has, or would have, for `owner/name`."""
    return hub_cache() / f"{kind}s--{name.replace('/', '--')}"


def cached_commit(kind: RepoKind, name: str, branch: str) -> str | None:
    """The commit that `branch` (or a tag) meant when it was last fetched, if that commit's files are still there."""
    folder = cached_repository(kind, name)
    reference = folder / "refs" / branch
    commit = reference.read_text().strip() if reference.is_file() else ""
    return commit if commit and (folder / "snapshots" / commit).is_dir() else None


def cached_commits(kind: RepoKind, name: str) -> list[str]:
    """The commits that the cache has any files of, the newest first."""
    snapshots = (cached_repository(kind, name) / "snapshots").glob("*")
    return [path.name for path in sorted(snapshots, key=lambda path: path.stat().st_mtime, reverse=True)]
