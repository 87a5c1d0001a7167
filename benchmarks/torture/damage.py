"""What is done to the files of a run after everything in it was killed: a damaged checkpoint, a power cut."""

import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture.points import SYNCED, append, read_lines
from training.checkpoint import committed

WRITTEN_BACK_S = 35.0
"""By then Linux has written a file by itself (vm.dirty_expire_centisecs is 30 s, looked at every 5 s)."""


def damage_newest_checkpoint(run_dir: Path, rng: random.Random) -> str:
    """Flip a byte of a file of the newest checkpoint, cut the file short or remove it; returns what was done."""
    found = [path for folder in sorted(run_dir.glob("*/checkpoints")) for path in committed(folder)]
    if not found:
        return "there was no checkpoint"
    newest = max(found, key=lambda path: path.stat().st_mtime)
    files = sorted(path for path in newest.rglob("*") if path.is_file() and path.stat().st_size)
    path, how = rng.choice(files), rng.choice(["flipped a byte of", "cut short", "removed"])
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    elif how == "cut short":
        os.truncate(path, rng.randrange(len(content)))
    else:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
    return f"{how} {newest.name}/{path.relative_to(newest)}"


def files_below(folders: list[Path]) -> Iterator[Path]:
    """Regular files, those behind links left out."""
    for folder in folders:
        for top, _, names in os.walk(folder):
            yield from (Path(top) / name for name in sorted(names) if not (Path(top) / name).is_symlink())


def all_is_on_disk(folders: list[Path], notes: Path) -> None:
    """Note every file as flushed: what was there before the first kill."""
    for path in files_below(folders):
        status = path.stat()
        append(notes / SYNCED, {"file": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns})


def cut_power(folders: list[Path], notes: Path, rng: random.Random) -> str:
    """Take from each file what nobody flushed: of some all, of some the end, some come out whole; returns how many.

    A file flushed and then appended to keeps what was flushed. A lost end is missing or is zeros, as file systems that
    allot blocks late leave it. Names are kept: a rename that outlives the data it names is the harder case.
    """
    flushed = {row["file"]: row for row in read_lines(notes / SYNCED)}
    torn = []
    for path in files_below(folders):
        status = path.stat()
        known = flushed.get(status.st_ino, {"size": 0, "mtime_ns": 0})
        if known["mtime_ns"] == status.st_mtime_ns or time.time() - status.st_mtime > WRITTEN_BACK_S:
            continue
        safe = min(int(known["size"]), status.st_size)
        keep = rng.choice([safe, rng.randint(safe, status.st_size), status.st_size])
        if keep == status.st_size:
            continue
        os.truncate(path, keep)
        if rng.random() < 0.5:
            os.truncate(path, status.st_size)
        torn.append(path)
    all_is_on_disk(folders, notes)
    return f"tore {len(torn)} files" + (f", {', '.join(path.name for path in torn[:4])}" if torn else "")
