"""The model has gone far from the one it started from: what that one knew is being written over."""

from itertools import takewhile

from training.config.health import HeldOutKl
from training.detectors.detector import Detector, Finding, History
from training.detectors.series import is_new

METRIC = "eval_kl_from_start"


def find(history: History, limits: HeldOutKl) -> Finding | None:
    """Judge the newest measurement; the finding began with the first of those above the limit in a row."""
    if not is_new(history, METRIC):
        return None
    measured = [row for row in history if row.get(METRIC) is not None]
    above = list(takewhile(lambda row: row[METRIC] > limits.above, reversed(measured)))
    if not above:
        return None
    return Finding(
        f"on held-out rows the model is {above[0][METRIC]:.3g} nats a token from the one it started from (KL)",
        above[-1]["step"],
    )


DETECTOR = Detector(find)
