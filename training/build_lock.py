"""The lock under which torch builds an operator: left behind by a killed process, every later start waits for ever.

DeepSpeed builds its operators when it starts (on CPU ranks always). torch 2.13's `FileBaton` holds a lock by keeping a
file of that name open, and a process that is killed meanwhile leaves the file.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

LOCK_NAME = "lock"
STALE_AFTER_S = 120.0
"""A build takes less than a minute; another host that shares the home may be at it, which cannot be seen from here."""


def locks() -> list[Path]:
    """Return every operator's lock, held or not."""
    root = Path(os.environ.get("TORCH_EXTENSIONS_DIR", Path.home() / ".cache" / "torch_extensions"))
    return sorted({*root.glob(f"*/{LOCK_NAME}"), *root.glob(f"*/*/{LOCK_NAME}")})


def stale_locks() -> list[Path]:
    """Return the locks that no process of this host holds and that are older than a build takes."""
    old = [path for path in locks() if time.time() - path.stat().st_mtime > STALE_AFTER_S]
    held = set(_opened(Path("/proc").glob("[0-9]*/fd/*"))) if old else set()
    return [path for path in old if path.resolve() not in held]


def remove_stale_locks() -> list[Path]:
    """Remove what killed processes left, so that this start does not wait for them."""
    stale = stale_locks()
    for path in stale:
        path.unlink(missing_ok=True)
    return stale


def release_own_locks() -> None:
    """Remove the locks this process holds, before it leaves without Python's clean-up."""
    mine = set(_opened(Path("/proc/self/fd").iterdir()))
    for path in locks():
        if path.resolve() in mine:
            path.unlink(missing_ok=True)


def _opened(descriptors: Iterator[Path]) -> Iterator[Path]:
    """Yield the files behind descriptors; those of other users, and of processes just gone, cannot be read."""
    for descriptor in descriptors:
        try:
            yield Path(os.readlink(descriptor))
        except OSError:
            continue
