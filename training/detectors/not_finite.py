"""NaN or infinity in the loss or the gradient norm: from here on the weights are worth nothing."""

import math

from training.config.health import NotFinite
from training.detectors.detector import Detector, Finding, History, everything

WATCHED = ("loss", "grad_norm")


def find(history: History, limits: NotFinite) -> Finding | None:
    """Look at the present step alone."""
    now = history[-1]
    wrong = [f"{name} is {now[name]}" for name in WATCHED if name in now and not _finite(now[name])]
    return Finding(" and ".join(wrong), now["step"]) if wrong else None


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


DETECTOR = Detector(find, everything)
