"""DPO widens the margin by making both answers unlikely (arXiv 2402.13228): what takes their place is in no row."""

from training.config.health import ChosenFalling
from training.detectors.detector import Detector, Finding, History
from training.detectors.series import first, is_new, last


def find(history: History, limits: ChosenFalling) -> Finding | None:
    """Compare the means of the first and of the last window, of log-probability and margin."""
    names = ("logps/chosen", "rewards/margins")
    if not all(is_new(history, name) for name in names):
        return None
    then = [first(history, name, limits.window) for name in names]
    now = [last(history, name, limits.window) for name in names]
    if then[0] is None or then[1] is None or now[0] is None or now[1] is None:
        return None
    fall = (then[0].mean - now[0].mean) / abs(then[0].mean) if then[0].mean else 0.0
    if fall <= limits.fall or now[1].mean <= then[1].mean:
        return None
    return Finding(
        f"the chosen answers' log-probability fell from {then[0].mean:.1f} to {now[0].mean:.1f} ({fall:.0%}) while the "
        f"margin rose from {then[1].mean:.3g} to {now[1].mean:.3g}",
        now[0].since,
    )


DETECTOR = Detector(find)
