"""The held-out loss rises away from its lowest value while training goes on: the model learns its rows by heart."""

from training.config.health import HeldOutLoss
from training.detectors.detector import Detector, Finding, History
from training.detectors.series import is_new, last

METRIC = "eval_loss"


def find(history: History, limits: HeldOutLoss) -> Finding | None:
    """Compare the last `times` evaluations with the lowest before them."""
    if not is_new(history, METRIC):
        return None
    recent = last(history, METRIC, limits.times)
    earlier = [row for row in history if row.get(METRIC) is not None][: -limits.times]
    if recent is None or not earlier:
        return None
    best = min(earlier, key=lambda row: row[METRIC])
    if any(value <= best[METRIC] * (1 + limits.rise) for value in recent.values):
        return None
    return Finding(
        f"the held-out loss is {recent.values[-1]:.4g}; its lowest was {best[METRIC]:.4g} at step {best['step']}, and "
        f"the last {limits.times} evaluations are more than {limits.rise:.0%} above",
        best["step"] + 1,
    )


DETECTOR = Detector(find)
