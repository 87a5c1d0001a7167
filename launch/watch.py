"""`posttrain status --watch`: follows runs by reading their files, until all is done or Ctrl-C."""

import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from launch.board import Board, BoardReader
from launch.board_view import BoardLines, board_renderable, ended_words
from training.run_folder import RunFolder

if TYPE_CHECKING:
    from rich.console import Console

LOOK_EVERY_S = 1.0


def watch(runs: Sequence[RunFolder], pause: Callable[[float], None] = time.sleep) -> int:
    """Show the runs until every stage of all is done, or Ctrl-C, which stops nothing but the watching; returns 0."""
    from rich.console import Console

    console = Console(file=sys.stdout, highlight=False)
    readers = [BoardReader(run) for run in runs]
    try:
        if console.is_terminal and not console.is_dumb_terminal:
            boards = _draw(console, readers, pause)
        else:
            boards = _say(readers, pause)
    except KeyboardInterrupt:
        print("\nnot watching any more; the run goes on")
        return 0
    for board in boards:
        print(ended_words(board))
    return 0


def _draw(console: "Console", readers: Sequence[BoardReader], pause: Callable[[float], None]) -> list[Board]:
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    with Live(console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            boards = [reader.read() for reader in readers]
            parts = [part for board in boards for part in (Text(_title(board), "bold"), board_renderable(board))]
            live.update(Group(*parts), refresh=True)
            if all(board.done for board in boards):
                return boards
            pause(LOOK_EVERY_S)


def _say(readers: Sequence[BoardReader], pause: Callable[[float], None]) -> list[Board]:
    lines = [BoardLines() for _ in readers]
    while True:
        boards = [reader.read() for reader in readers]
        for board, own in zip(boards, lines, strict=True):
            for line in own.news(board):
                print(line if len(boards) == 1 else f"{board.name}: {line}", flush=True)
        if all(board.done for board in boards):
            return boards
        pause(LOOK_EVERY_S)


def _title(board: Board) -> str:
    return f"{board.name}: {'running' if board.running else 'nobody runs it now'}"
