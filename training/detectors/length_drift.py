"""Completions explode or collapse in length: often a reward is being gamed."""

from training.config.health import LengthDrift
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import first, is_new, last

METRIC = "completions/mean_length"


def find(history: History, limits: LengthDrift) -> Finding | None:
    """Compare the mean of the last window with that of the first one."""
    then = first(history, METRIC, limits.window)
    now = last(history, METRIC, limits.window) if is_new(history, METRIC) else None
    if then is None or now is None or then.mean / limits.factor <= now.mean <= then.mean * limits.factor:
        return None
    return Finding(
        f"the mean length of completions is {now.mean:.0f} tokens, {now.mean / then.mean:.2f} times the "
        f"{then.mean:.0f} of the first {limits.window} rounds",
        now.since,
    )


def rows(samples: Samples) -> list[int]:
    """The longest completions first."""
    return sorted(range(len(samples)), key=lambda place: -samples[place]["tokens"])


DETECTOR = Detector(find, rows)
