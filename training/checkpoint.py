"""Checkpoints that exist only once they are whole: a manifest with the sha256 of every file is written last.

Hugging Face writes `checkpoint-N` and DeepSpeed its shards; `commit` then hashes, flushes and renames the manifest into
place, and only after that removes older checkpoints. A folder without a manifest is ignored.
"""

import json
import platform
import re
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from training.identity import file_sha256
from training.record import flush, write_json
from training.whole_folder import flush_tree
from training.world import LATE_FILE_S, World, gather

MANIFEST = "manifest.json"
_NAME = re.compile(r"checkpoint-\d+")
POLL_S = 0.2


def commit(checkpoint: Path, keep: int, facts: dict[str, Any]) -> None:
    """Make `checkpoint` exist: rank 0 calls this once every rank has written its files. `facts` (ranks, ZeRO stage,
    ...) must be equal when it is resumed. Keeps the newest `keep` checkpoints. Raises OSError where it does not exist.
    """
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MANIFEST)
    flush_tree(checkpoint)
    flush(checkpoint.parent)
    manifest = {"facts": facts, "files": {str(p.relative_to(checkpoint)): file_sha256(p) for p in files}}
    write_json(checkpoint / MANIFEST, manifest)
    _rotate(checkpoint.parent, keep)


def _by_step(folder: Path) -> list[Path]:
    """The `checkpoint-N` folders, oldest first; those set aside as damaged bear another name."""
    return sorted((path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)), key=step_of)


def step_of(checkpoint: Path) -> int:
    """The step that a `checkpoint-N` was written after."""
    return int(checkpoint.name.rpartition("-")[2])


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
        try:
            (old / MANIFEST).unlink()
            shutil.rmtree(old)
        except OSError as error:  # the new one exists all the same
            print(f"{old.name} could not be removed: {error}", file=sys.stderr, flush=True)


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
    """The newest checkpoint that verifies, or None; rank 0 chooses it and sets damaged and unfinished ones aside.

    A whole checkpoint whose `facts` differ (another ZeRO stage) is a UserError: resuming it would train something else
    in silence. Another number of ranks is not: `training.changed_world` sees to that.
    """
    from data.errors import UserError

    chosen = gather(world, _choose(folder) if world.is_main else None)[0]
    if chosen is None:
        return None
    whole, found = folder / chosen["name"], chosen["facts"]
    _wait_for(whole, [*chosen["files"], MANIFEST])
    changed = [key for key in facts if key != "processes" and found.get(key) != facts[key]]
    differing = [f"{key} was {found.get(key)}, is {facts[key]}" for key in changed]
    if differing:
        raise UserError(
            f"{whole} cannot be resumed: {'; '.join(differing)}. Put it back as it was, or remove the stage's "
            "checkpoints/ folder to start the stage again"
        )
    return whole


def _choose(folder: Path) -> dict[str, Any] | None:
    """Name, facts and files of the newest checkpoint that verifies; those that do not are removed or set aside."""
    discard_unfinished(folder)
    for path in reversed(committed(folder)):
        names = damage(path)
        if not names:
            return {"name": path.name, **json.loads((path / MANIFEST).read_text())}
        print(f"checkpoint {path.name} is damaged ({', '.join(names[:3])}); set aside, using the one before")
        set_aside(path)
    return None


def _wait_for(checkpoint: Path, names: list[str]) -> None:
    """Wait until this node sees the files that rank 0 has verified; a UserError where it does not."""
    from data.errors import UserError

    deadline = time.monotonic() + LATE_FILE_S
    while missing := [name for name in names if not (checkpoint / name).is_file()]:
        if time.monotonic() >= deadline:
            raise UserError(
                f"{checkpoint / missing[0]} is there for rank 0 and not on host {platform.node()}; "
                "every node must see runtime.runs_dir under the same path"
            )
        time.sleep(POLL_S)
