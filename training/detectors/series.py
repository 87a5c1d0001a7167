"""One metric's values in a history; steps that did not log it, or logged no number, are passed over."""

from collections.abc import Iterable
from statistics import fmean
from typing import NamedTuple

from training.detectors.detector import History, Row


class Window(NamedTuple):
    """Consecutive values of a metric, oldest first, and the step of the first one."""

    values: list[float]
    since: int

    @property
    def mean(self) -> float:
        """Their mean."""
        return fmean(self.values)


def last(history: History, name: str, count: int, before: int = 0, zeros: bool = True) -> Window | None:
    """The newest `count` values, leaving out the newest `before` of them; None while there are fewer.

    Without `zeros` a value of 0 is passed over like a step that logged none.
    """
    found = _taken(reversed(history), name, count + before, zeros)[before:]
    return Window([value for value, _ in reversed(found)], found[-1][1]) if len(found) == count else None


def first(history: History, name: str, count: int) -> Window | None:
    """The oldest `count` values; None while there are fewer."""
    found = _taken(history, name, count)
    return Window([value for value, _ in found], found[0][1]) if len(found) == count else None


def is_new(history: History, name: str) -> bool:
    """Whether the present step logged the metric."""
    return bool(history) and _number(history[-1], name) is not None


def _taken(rows: Iterable[Row], name: str, count: int, zeros: bool = True) -> list[tuple[float, int]]:
    found: list[tuple[float, int]] = []
    for row in rows:
        value = _number(row, name)
        if value is not None and (zeros or value):
            found.append((value, row["step"]))
            if len(found) == count:
                break
    return found


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    return float(value) if isinstance(value, int | float) and value == value else None
