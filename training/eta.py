"""How long the rest of a stage takes, from the ledger of its steps.

A checkpoint, an evaluation or a rollout round makes one step ten times as long as its neighbours. So a phase that only
some steps have is counted by its mean over all steps so far, and what every step has by the median of the recent ones.
"""

from collections import deque
from collections.abc import Mapping
from statistics import median
from typing import NamedTuple

from training.ledger import PHASES

RECENT_STEPS = 50
IN_EVERY_STEP = 0.9
"""A phase that so large a share of the recent steps has belongs to every step."""
STEPS_FOR_A_RANGE = 4


class Eta(NamedTuple):
    """Seconds left: as likely as not, and if all steps were like the faster or the slower quarter of the recent ones.

    The two are equal until four steps have been seen.
    """

    likely_s: float
    low_s: float
    high_s: float


class StepTimes:
    """Hears of every step and says what is left; seconds by phase as `Ledger.end_step` returns them."""

    def __init__(self) -> None:
        self._recent: deque[Mapping[str, float]] = deque(maxlen=RECENT_STEPS)
        self._totals = dict.fromkeys(PHASES, 0.0)
        self._steps = 0

    def note(self, timing: Mapping[str, float]) -> None:
        """Hear of a step."""
        self._recent.append(timing)
        self._steps += 1
        for phase in PHASES:
            self._totals[phase] += timing.get(phase, 0.0)

    def eta(self, steps_left: int) -> Eta | None:
        """What `steps_left` steps take; None before the first step."""
        if not self._recent:
            return None
        occasional = self._occasional()
        regular = sorted(
            timing["step"] - sum(timing.get(phase, 0.0) for phase in occasional) for timing in self._recent
        )
        beside = sum(self._totals[phase] for phase in occasional) / self._steps
        likely, low, high = median(regular), quantile(regular, 0.25), quantile(regular, 0.75)
        if len(regular) < STEPS_FOR_A_RANGE:
            low = high = likely
        return Eta(steps_left * (likely + beside), steps_left * (low + beside), steps_left * (high + beside))

    def _occasional(self) -> list[str]:
        """Phases that some steps have and others have not."""
        having = {phase: sum(timing.get(phase, 0.0) > 0 for timing in self._recent) for phase in PHASES}
        return [phase for phase in PHASES if having[phase] < IN_EVERY_STEP * len(self._recent)]


def quantile(ordered: list[float], share: float) -> float:
    """The value at `share` of a sorted list, between two by their distance."""
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])
