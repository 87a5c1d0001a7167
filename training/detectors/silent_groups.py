"""Hardly a group's completions differ in reward: every advantage is 0, and the step learns nothing."""

from training.config.health import SilentGroups
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import is_new, last

METRIC = "groups/without_signal"


def find(history: History, limits: SilentGroups) -> Finding | None:
    """Judge the mean over the window of rollout rounds."""
    window = last(history, METRIC, limits.window) if is_new(history, METRIC) else None
    if window is None or window.mean < limits.above:
        return None
    return Finding(f"{window.mean:.0%} of the groups of {limits.window} rounds have no signal", window.since)


def rows(samples: Samples) -> list[int]:
    """One completion of each prompt whose completions have all the same rewards."""
    rewards: dict[str, set[str]] = {}
    for sample in samples:
        rewards.setdefault(sample["prompt"], set()).add(repr(sample["rewards"]))
    shown: set[str] = set()
    places = []
    for place, sample in enumerate(samples):
        if len(rewards[sample["prompt"]]) == 1 and sample["prompt"] not in shown:
            shown.add(sample["prompt"])
            places.append(place)
    return places


DETECTOR = Detector(find, rows)
