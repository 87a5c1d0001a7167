"""The gradient norm jumps to many times what it was: a bad batch, or the learning rate is too high."""

from statistics import median

from training.config.health import GradientSpike
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import is_new, last


def find(history: History, limits: GradientSpike) -> Finding | None:
    """Compare the present norm with the median of the window before it; steps without a gradient count for nothing."""
    if not is_new(history, "grad_norm"):
        return None
    norm = history[-1]["grad_norm"]
    before = last(history, "grad_norm", limits.window, before=1, zeros=False) if norm else None
    if before is None or norm <= limits.factor * median(before.values):
        return None
    usual = median(before.values)
    return Finding(
        f"gradient norm {norm:.3g} is {norm / usual:.3g} times the median {usual:.3g} of the {limits.window} steps "
        "before",
        history[-1]["step"],
    )


def rows(samples: Samples) -> list[int]:
    """The completions that pull hardest: the largest advantages in size first."""
    return sorted(range(len(samples)), key=lambda place: -abs(samples[place]["advantage"] or 0.0))


DETECTOR = Detector(find, rows)
