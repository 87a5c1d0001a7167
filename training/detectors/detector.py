"""What a detector is: a pure function of the metrics so far, and the completions that show what it found."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

Row = Mapping[str, Any]
History = Sequence[Row]
"""The lines of metrics.jsonl, oldest first; the last one is the present step's."""
Samples = Sequence[Row]
"""The lines of samples.jsonl of the newest rollout round."""


class Finding(NamedTuple):
    """What was found, in words with the numbers, and the first optimizer step that already shows it."""

    message: str
    since: int


@dataclass(frozen=True)
class Detector:
    """`find(history, limits)` gives a Finding or None; `rows(samples)` the places of the completions that show it.

    `limits` is the detector's block of `training.config.health`. Equal histories give equal findings: there is no state
    beside metrics.jsonl, so a resumed run judges as one that was never interrupted.
    """

    find: Callable[[History, Any], Finding | None]
    rows: Callable[[Samples], list[int]] = lambda samples: []


def everything(samples: Samples) -> list[int]:
    """Every completion of the round."""
    return list(range(len(samples)))
