"""The policy leaves its reference in one leap: the KL is many times what it was."""

from statistics import median

from training.config.health import KlJump
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import is_new, last

METRIC = "kl"


def find(history: History, limits: KlJump) -> Finding | None:
    """Compare the present KL with the median of the window before it."""
    if not is_new(history, METRIC):
        return None
    before, now = last(history, METRIC, limits.window, before=1), float(history[-1][METRIC])
    if before is None or now < limits.above or now <= limits.factor * median(before.values):
        return None
    return Finding(
        f"KL {now:.3g} nats a token; the median of the {limits.window} steps before is {median(before.values):.3g}",
        history[-1]["step"],
    )


def rows(samples: Samples) -> list[int]:
    """The completions that pull hardest: the largest advantages in size first."""
    return sorted(range(len(samples)), key=lambda place: -abs(samples[place]["advantage"] or 0.0))


DETECTOR = Detector(find, rows)
