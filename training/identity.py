"""What makes two things the same: canonical JSON, content hashes and the fingerprint of a stage.

Owns the one text form that is hashed and the cache of file hashes. Refuses values whose text is not unique (NaN,
infinities, keys that are not strings). Knows no stage and no folder: `training.plan` builds the blocks hashed here.
"""

import hashlib
import json
import math
import os
import time
from pathlib import Path
from typing import Any

IDENTITY_VERSION = 1
"""Part of every fingerprint; raised when the meaning of a block changes, so that old artifacts do not pass for new."""

_BLOCK_BYTES = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file younger than two seconds may change again within the clock's resolution: its hash is not cached yet."""


def canonical_json(value: Any) -> str:
    """Return the one JSON text of `value`: keys sorted, no spaces, floats by `repr`, and 5.0 written as 5.

    A whole float equals the integer that YAML users write in its place (`beta: 0` and `beta: 0.0` are one
    experiment). Raises `ValueError` for NaN and infinities and `TypeError` for anything that is not JSON.
    """
    return json.dumps(_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value!r} has no place in an identity: it equals nothing, not even itself")
        return int(value) if value.is_integer() and abs(value) < 2**53 else value
    if isinstance(value, dict):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"identity keys are strings; found {key!r}")
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    raise TypeError(f"{type(value).__name__} is not JSON and cannot enter an identity: {value!r}")


def sha256_text(text: str) -> str:
    """Return the sha256 of the UTF-8 bytes of `text` as 64 hex digits."""
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def fingerprint(block: dict[str, Any]) -> str:
    """Return the 64 hex digits that name the experiment described by `block`."""
    return sha256_text(canonical_json(block))


def derived_seed(seed: int, owner: str) -> int:
    """Return a seed in [0, 2**31) for `owner` (a stage or suite), so that two owners draw different data."""
    return int(sha256_text(f"{seed}:{owner}")[:8], 16) >> 1


def cache_root() -> Path:
    """Return where conversions and hashes are kept: $POSTTRAIN_CACHE, else `posttrain` in the user's cache folder."""
    user = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("POSTTRAIN_CACHE") or Path(user) / "posttrain")


def default_cache_dir() -> Path:
    """Return the folder of cached file hashes."""
    return cache_root() / "hashes"


def file_sha256(path: Path, cache_dir: Path | None = None) -> str:
    """Return the sha256 of a file's bytes; with `cache_dir`, an unchanged (path, size, mtime_ns) is not read again."""
    stat = path.stat()
    entry = None
    resolved = str(path.resolve())
    key = {"path": resolved, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    if cache_dir is not None:
        entry = cache_dir / f"{sha256_text(resolved)[:32]}.json"
        cached = _read_entry(entry)
        if cached is not None and all(cached.get(name) == value for name, value in key.items()):
            return str(cached["sha256"])
    digest = _hash_file(path)
    if entry is not None and time.time_ns() - stat.st_mtime_ns > _SETTLED_NS:
        _write_entry(entry, {**key, "sha256": digest})
    return digest


def _hash_file(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read_entry(entry: Path) -> dict[str, Any] | None:
    try:
        cached = json.loads(entry.read_text())
    except (OSError, ValueError):
        return None
    return cached if isinstance(cached, dict) and "sha256" in cached else None


def _write_entry(entry: Path, content: dict[str, Any]) -> None:
    """Keep a hash for next time; a cache that cannot be written (read-only home, full disk) only costs time."""
    temporary = entry.with_name(f"{entry.name}.{os.getpid()}.tmp")
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(content))
        temporary.replace(entry)
    except OSError:
        return
