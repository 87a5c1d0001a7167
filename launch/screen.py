"""The terminal of `posttrain run`: the run's board at the bottom, everything said above it.

Without a terminal (a Slurm job, a pipe) nothing is drawn: rank 0's own lines are the progress, one every few seconds at
most, and what was warned of is said again at the end.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from launch.board import BoardReader
from launch.board_view import board_renderable
from training.progress import PROGRESS_LINE
from training.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Console

REDRAW_EVERY_S = 1.0


@contextlib.contextmanager
def live_board(run: RunFolder, console: "Console | None" = None) -> Iterator[Callable[[], None]]:
    """Draw the board while the block runs; yields what redraws it, to be called as often as one likes.

    Drawn from the caller's thread: ranks are forked from this process, which must not hold a lock of another thread.
    """
    from rich.console import Console
    from rich.live import Live

    reader = BoardReader(run)
    console = console or Console(file=sys.stdout, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda: None
        for warning in reader.read().warnings:
            print(f"warning: {warning}", flush=True)
        return
    drawn_at = float("-inf")

    with Live(console=console, auto_refresh=False, redirect_stdout=False, vertical_overflow="visible") as live:

        def redraw() -> None:
            nonlocal drawn_at
            if time.monotonic() - drawn_at >= REDRAW_EVERY_S:
                drawn_at = time.monotonic()
                live.update(board_renderable(reader.read()), refresh=True)

        with contextlib.redirect_stdout(Above(console)):
            redraw()
            try:
                yield redraw
            finally:
                live.update(board_renderable(reader.read()), refresh=True)


class Above(io.TextIOBase):
    """Standard output above a live board: whole lines, without those of progress, which the board has."""

    def __init__(self, console: "Console") -> None:
        self._console = console
        self._rest = ""

    def write(self, text: str) -> int:
        """Print the lines that are whole."""
        from rich.text import Text

        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if not PROGRESS_LINE.fullmatch(line):
                self._console.print(Text.from_ansi(line), soft_wrap=True)
        return len(text)
