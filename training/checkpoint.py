"""Checkpoints that exist only once they are whole: a manifest with the sha256 of every file is written last.

Hugging Face writes `checkpoint-N` and DeepSpeed its shards; `commit` then meets the other ranks, hashes, flushes and
renames the manifest into place, and only after that removes older checkpoints. A folder without a manifest is ignored.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

from training.identity import file_sha256
from training.record import flush, write_json
from training.whole_folder import flush_tree
from training.world import World, barrier

MANIFEST = "manifest.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def commit(checkpoint: Path, world: World, keep: int, facts: dict[str, Any]) -> None:
    """Make `checkpoint` exist: every rank calls this when its own files are written. `facts` (ranks, ZeRO stage, ...)
    must be equal when it is resumed. Keeps the newest `keep` checkpoints."""
    barrier(world)
    if world.is_main:
        files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MANIFEST)
        flush_tree(checkpoint)
        flush(checkpoint.parent)
        manifest = {"facts": facts, "files": {str(p.relative_to(checkpoint)): file_sha256(p) for p in files}}
        write_json(checkpoint / MANIFEST, manifest)
        _rotate(checkpoint.parent, keep)
    barrier(world)


def _by_step(folder: Path) -> list[Path]:
    """The `checkpoint-N` folders, oldest first; those set aside as damaged bear another name."""
    steps = {path: _NAME.fullmatch(path.name) for path in folder.glob("checkpoint-*")}
    return sorted((path for path, match in steps.items() if match), key=lambda path: int(path.name.rsplit("-", 1)[1]))


def committed(folder: Path) -> list[Path]:
    """Checkpoints under `folder` that have a manifest, oldest first."""
    return [path for path in _by_step(folder) if (path / MANIFEST).is_file()]


def discard_unfinished(folder: Path) -> None:
    """Remove the checkpoints under `folder` that have no manifest."""
    for path in _by_step(folder):
        if not (path / MANIFEST).is_file():
            shutil.rmtree(path)


def bytes_of_newest(folder: Path) -> int:
    """Return the size of the newest checkpoint under `folder`, 0 where there is none: the next one takes as much."""
    newest = committed(folder)[-1:]
    return sum(path.stat().st_size for one in newest for path in one.rglob("*") if path.is_file())


def _rotate(folder: Path, keep: int) -> None:
    for old in committed(folder)[:-keep]:
        (old / MANIFEST).unlink()
        shutil.rmtree(old)


def damage(checkpoint: Path) -> list[str]:
    """Names of files that are missing or differ from the manifest; empty when the checkpoint is whole."""
    try:
        files = json.loads((checkpoint / MANIFEST).read_text())["files"]
    except (ValueError, KeyError):  # a byte of the manifest itself has changed
        return [MANIFEST]
    return [
        name
        for name, expected in files.items()
        if not (checkpoint / name).is_file() or file_sha256(checkpoint / name) != expected
    ]


def set_aside(checkpoint: Path) -> None:
    """Rename a damaged checkpoint to `checkpoint-N.damaged`, in place of one set aside earlier."""
    target = checkpoint.with_name(checkpoint.name + ".damaged")
    shutil.rmtree(target, ignore_errors=True)
    checkpoint.rename(target)


def manifest_facts(checkpoint: Path) -> dict[str, Any]:
    """The facts that a checkpoint was committed with."""
    facts: dict[str, Any] = json.loads((checkpoint / MANIFEST).read_text())["facts"]
    return facts


def newest_whole(folder: Path, world: World, facts: dict[str, Any]) -> Path | None:
    """The newest checkpoint that verifies, or None; damaged and unfinished ones are set aside by rank 0, by name.

    A whole checkpoint whose `facts` differ (another ZeRO stage) is a UserError: resuming it would train something else
    in silence. Another number of ranks is not: `training.changed_world` sees to that.
    """
    from data.errors import UserError

    if world.is_main:
        discard_unfinished(folder)
        for path in reversed(committed(folder)):
            names = damage(path)
            if not names:
                break
            print(f"checkpoint {path.name} is damaged ({', '.join(names[:3])}); set aside, using the one before")
            set_aside(path)
    barrier(world)
    whole = committed(folder)
    if not whole:
        return None
    found = manifest_facts(whole[-1])
    differing = [f"{key} was {found.get(key)}, is {facts.get(key)}" for key in facts if found.get(key) != facts[key]]
    differing = [words for words in differing if not words.startswith("processes ")]
    if differing:
        raise UserError(
            f"{whole[-1]} cannot be resumed: {'; '.join(differing)}. Put it back as it was, or remove the stage's "
            "checkpoints/ folder to start the stage again"
        )
    return whole[-1]
