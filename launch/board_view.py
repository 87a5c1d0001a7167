"""A board as people see it: a table with bars that a terminal redraws, or lines that a log keeps."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from launch.board import DONE, LEFT, RUNNING, WAITING, Board, Standing
from training.progress import LINE_EVERY_S, eta_words

if TYPE_CHECKING:
    from rich.console import RenderableType

STYLES = {DONE: "green", RUNNING: "bold cyan", WAITING: "dim", LEFT: "yellow"}
SHOWN_WARNINGS = 6
BAR_WIDTH = 10


def board_renderable(board: Board) -> "RenderableType":
    """The board for rich: a row a stage, the warnings under it."""
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 2), expand=True)
    counts = [_counted(stage) for stage in board.stages]
    widest = [
        [stage.state for stage in board.stages],
        [stage.name for stage in board.stages],
        [" " * BAR_WIDTH],
        counts,
    ]
    for texts in widest:
        grid.add_column(no_wrap=True, width=max(map(len, texts), default=0))
    grid.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for stage, counted in zip(board.stages, counts, strict=True):
        bar = ProgressBar(stage.total, stage.step or 0, BAR_WIDTH, complete_style="cyan") if counted else ""
        style = STYLES.get(stage.state, "bold red")
        name = Text(stage.name, "bold" if stage.state == RUNNING else "")
        grid.add_row(Text(stage.state, style), name, bar, counted, Text(details(stage)))
    return Group(grid, *(Text(f"warning: {line}", "yellow") for line in shown_warnings(board)))


def _counted(stage: Standing) -> str:
    return f"{stage.step or 0}/{stage.total}" if stage.total and stage.state != DONE else ""


def details(stage: Standing) -> str:
    """What is left, then the numbers of the last step; how it went where it has ended."""
    if stage.state != RUNNING:
        return stage.note
    parts = [eta_words(*stage.eta_s)] if stage.eta_s is not None else [stage.phase]
    if stage.tokens_per_s is not None:
        parts.append(f"{stage.tokens_per_s:.0f} tokens/s")
    parts += [f"{name.removeprefix('rewards/')} {value:.4g}" for name, value in stage.metrics.items()]
    return "  ".join(parts)


def shown_warnings(board: Board) -> list[str]:
    """The last warnings, and how many stand before them."""
    found = board.warnings
    earlier = len(found) - SHOWN_WARNINGS
    return ([f"{earlier} earlier ones"] if earlier > 0 else []) + found[-SHOWN_WARNINGS:]


def stage_line(stage: Standing) -> str:
    """One stage in one line."""
    counted = f"step {_counted(stage)}" if _counted(stage) else ""
    return "  ".join(part for part in (stage.name, stage.state, counted, details(stage)) if part)


class BoardLines:
    """Says what is new on a board, for output that cannot be redrawn: a stage's progress every few seconds at most."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._states: dict[str, str] = {}
        self._steps: dict[str, int | None] = {}
        self._told: set[str] = set()
        self._progress_at = float("-inf")

    def news(self, board: Board) -> Iterator[str]:
        """The lines since the last call."""
        for stage in board.stages:
            moved = stage.state == RUNNING and stage.step != self._steps.get(stage.name)
            due = self._clock() - self._progress_at >= LINE_EVERY_S
            if stage.state != self._states.get(stage.name, WAITING) or (moved and due):
                self._states[stage.name], self._steps[stage.name] = stage.state, stage.step
                self._progress_at = self._clock()
                yield stage_line(stage)
        for warning in board.warnings:
            words = warning.partition(" has been silent for")[0]  # how long changes at every look
            if words not in self._told:
                self._told.add(words)
                yield f"warning: {warning}"


def ended_words(board: Board) -> str:
    """How a run stands that nobody needs to follow any more."""
    done = sum(stage.state == DONE for stage in board.stages)
    return f"{board.name}: {done} of {len(board.stages)} stages are done"
