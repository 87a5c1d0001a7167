"""The margin between two answers follows their difference in length (arXiv 2403.19159): DPO has learned the length."""

from training.config.health import LengthBias
from training.detectors.detector import Detector, Finding, History
from training.detectors.series import is_new, last

METRIC = "rewards/length_correlation"


def find(history: History, limits: LengthBias) -> Finding | None:
    """Judge the mean over the window; a correlation of either sign is a bias."""
    window = last(history, METRIC, limits.window) if is_new(history, METRIC) else None
    if window is None or abs(window.mean) <= limits.above:
        return None
    longer = "longer" if window.mean > 0 else "shorter"
    return Finding(
        f"margin and difference in length correlate by {window.mean:+.2f} over {limits.window} steps: the {longer} "
        "answer wins",
        window.since,
    )


DETECTOR = Detector(find)
