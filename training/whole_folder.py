"""Folders that are there whole or not at all: written under another name, flushed to disk, renamed into place.

A process may be killed, or the power may go, between any two files: what has the final name is complete all the same.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from training.record import flush


@contextmanager
def whole_folder(target: Path) -> Iterator[Path]:
    """Give a folder that is not there yet to write into; it becomes `target` when the block ends well.

    What an earlier process left of it is removed first. One process at a time.
    """
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    yield partial
    settle(partial, target)


def settle(written: Path, target: Path) -> None:
    """Flush a folder to disk and give it its final name; raises OSError where that is taken."""
    flush_tree(written)
    written.rename(target)
    flush(target.parent)


def flush_tree(folder: Path) -> None:
    """Make all files and names below a folder survive a power cut."""
    for top, _, names in os.walk(folder):
        for name in names:
            flush(Path(top) / name)
        flush(Path(top))


def link_or_copy(source: str, target: str) -> None:
    """Give a file a second name where the file system allows it, else copy it."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
