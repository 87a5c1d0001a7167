"""What a rank's threads are doing, on request: USR2 writes their Python stacks into `ranks/<rank>.stacks`.

The interpreter's own handler writes them, so a rank answers also while it waits in a collective or in the driver.
"""

import faulthandler
import signal
from pathlib import Path
from typing import TextIO

STACKS_SIGNAL = signal.SIGUSR2
_kept: dict[str, TextIO] = {}


def stacks_path(stage_folder: Path, rank: int) -> Path:
    """Where a rank's stacks are written."""
    return stage_folder / "ranks" / f"{rank}.stacks"


def answer_with_stacks(stage_folder: Path, rank: int) -> None:
    """Register the handler; the file is empty until someone asks."""
    path = stacks_path(stage_folder, rank)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = _kept.pop("file", None)
    _kept["file"] = path.open("w")  # faulthandler writes to the descriptor: the file must stay open
    faulthandler.register(STACKS_SIGNAL, _kept["file"], all_threads=True, chain=False)
    if before is not None:
        before.close()


def main_thread(text: str) -> list[str]:
    """Return the main thread's frames of the last dump in `text`, innermost first, as "FILE:LINE in FUNCTION".

    faulthandler lists threads from the youngest to the oldest, which is the main one.
    """
    frames: list[str] = []
    for line in text.splitlines():
        if line.endswith("(most recent call first):"):
            frames = []
        elif line.startswith('  File "'):
            path, _, rest = line.removeprefix('  File "').partition('", line ')
            number, _, function = rest.partition(" in ")
            frames.append(f"{path}:{number} in {function}")
    return frames
