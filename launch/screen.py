"""The terminal of `posttrain run`: the run's board at the bottom, everything said above it.

Without a terminal (a Slurm job, a pipe) nothing is drawn: rank 0's own lines are the progress, one every few seconds at
most, and what was warned of is said again at the end.
"""

import contextlib
import io
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

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

    reader, unshown = BoardReader(run), Unshown()
    console = console or Console(file=sys.stdout, highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        yield lambda: None
        with unshown:
            for warning in reader.read().warnings:
                print(f"warning: {warning}", flush=True)
        return
    drawn_at = float("-inf")

    with Live(console=console, auto_refresh=False, redirect_stdout=False, vertical_overflow="visible") as live:

        def draw() -> None:
            with unshown:
                live.update(board_renderable(reader.read()), refresh=True)

        def redraw() -> None:
            nonlocal drawn_at
            if time.monotonic() - drawn_at >= REDRAW_EVERY_S:
                drawn_at = time.monotonic()
                draw()

        with contextlib.redirect_stdout(Above(console)):
            redraw()
            try:
                yield redraw
            finally:
                draw()


class Unshown:
    """Keeps what goes wrong while a board is drawn from the run that is drawn, and says the first of it."""

    def __init__(self) -> None:
        self._said = False

    def __enter__(self) -> None:
        """Drawing begins."""

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        """Say the first error; a KeyboardInterrupt and its like go on."""
        if not isinstance(error, Exception):
            return False
        if not self._said:
            self._said = True
            print(f"the board cannot be shown ({type(error).__name__}: {error}); the run goes on", flush=True)
        return True


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
