"""Completions reach the length limit without ending: what they would say last is never rewarded."""

from training.config.health import Truncation
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import is_new, last

METRIC = "completions/clipped_ratio"


def find(history: History, limits: Truncation) -> Finding | None:
    """Judge the mean over the window of rollout rounds."""
    window = last(history, METRIC, limits.window) if is_new(history, METRIC) else None
    if window is None or window.mean <= limits.above:
        return None
    return Finding(f"{window.mean:.0%} of the completions of {limits.window} rounds are cut off", window.since)


def rows(samples: Samples) -> list[int]:
    """The completions cut off."""
    return [place for place, sample in enumerate(samples) if sample["truncated"]]


DETECTOR = Detector(find, rows)
