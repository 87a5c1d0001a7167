"""Rewards raise exceptions: those completions teach nothing, and the cause is in code or data, not in the model."""

from training.config.health import RewardErrors
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import is_new

METRIC = "reward/error_rate"


def find(history: History, limits: RewardErrors) -> Finding | None:
    """Judge the share of all completions so far."""
    now = history[-1]
    if not is_new(history, METRIC) or now[METRIC] <= limits.above:
        return None
    return Finding(f"{now[METRIC]:.1%} of the completions so far could not be scored", now["step"])


def rows(samples: Samples) -> list[int]:
    """The completions without any reward."""
    return [place for place, sample in enumerate(samples) if all(value is None for value in sample["rewards"].values())]


DETECTOR = Detector(find, rows)
