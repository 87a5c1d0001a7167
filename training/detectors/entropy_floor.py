"""The policy hardly chooses any more: without entropy a group's completions are alike and nothing is explored."""

from training.config.health import EntropyFloor
from training.detectors.detector import Detector, Finding, History, everything
from training.detectors.series import is_new, last

METRIC = "entropy"


def find(history: History, limits: EntropyFloor) -> Finding | None:
    """Judge the mean over the window."""
    window = last(history, METRIC, limits.window) if is_new(history, METRIC) else None
    if window is None or window.mean >= limits.below:
        return None
    return Finding(f"entropy is {window.mean:.3g} nats a token over {limits.window} steps", window.since)


DETECTOR = Detector(find, everything)
