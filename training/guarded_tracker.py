"""A tracker that cannot end a run: what goes wrong in it is said once and counted; the folder has everything anyway."""

from collections.abc import Callable
from typing import Any

from data.errors import UserError
from training.tracker import NullTracker, Tracker

FAILURES_IN_A_ROW = 10
"""After so many the tracker is left alone: each may have waited for a server."""


class GuardedTracker(NullTracker):
    """Passes everything on to `tracker`; its exceptions go to `say`, the first in words, the others as a number."""

    def __init__(self, tracker: Tracker, say: Callable[[str], None]) -> None:
        self._say = say
        self._lost = self._in_a_row = 0
        for name in ("log", "table", "alert", "summary", "artifacts"):
            setattr(self, name, self._guarded(name, getattr(tracker, name)))
        self._finish = self._guarded("finish", tracker.finish)

    def finish(self, outcome: Any = "done") -> None:
        """Close the run; says how much the tracker did not take, where that is more than was told."""
        self._finish(outcome)
        if self._lost > 1:
            self._say(
                f"the tracker did not take {self._lost} of its calls; metrics.jsonl and the record have everything"
            )

    def _guarded(self, name: str, call: Callable[..., None]) -> Callable[..., None]:
        def guarded(*given: Any, **named: Any) -> None:
            if self._in_a_row >= FAILURES_IN_A_ROW and name != "finish":
                self._lost += 1
                return
            try:
                call(*given, **named)
                self._in_a_row = 0
            except Exception as error:
                self._lost += 1
                self._in_a_row += 1
                if self._lost == 1:
                    self._say(f"the tracker failed at `{name}` ({in_a_line(error)}); the run goes on")

        return guarded


def open_guarded(open_it: Callable[[], Tracker], say: Callable[[str], None]) -> Tracker:
    """The tracker that `open_it` opens, guarded; one that cannot be opened is said and does without.

    A UserError (a package that is missing, a mode that cannot be met) is raised.
    """
    try:
        return GuardedTracker(open_it(), say)
    except UserError:
        raise
    except Exception as error:
        say(f"the tracker could not be opened ({in_a_line(error)}); this stage goes on without one")
        return NullTracker()


def in_a_line(error: Exception) -> str:
    """The kind of an error with the first line of what it says."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
