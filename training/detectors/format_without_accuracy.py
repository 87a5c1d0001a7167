"""The form is learned in place of the answer (open-r1 #255, #373): its reward rises while the answer's falls."""

from training.config.health import FormatWithoutAccuracy
from training.detectors.detector import Detector, Finding, History, everything
from training.detectors.series import is_new, last


def find(history: History, limits: FormatWithoutAccuracy) -> Finding | None:
    """Compare the last window with the one before it, for both rewards; a run without one of them is never in alarm."""
    form, answer = (f"reward/{name}" for name in (limits.form, limits.answer))
    if not (is_new(history, form) and is_new(history, answer)):
        return None
    now = [last(history, name, limits.window) for name in (form, answer)]
    then = [last(history, name, limits.window, before=limits.window) for name in (form, answer)]
    if now[0] is None or now[1] is None or then[0] is None or then[1] is None:
        return None
    if now[0].mean - then[0].mean < limits.rise or then[1].mean - now[1].mean < limits.fall:
        return None
    return Finding(
        f"{form} rose from {then[0].mean:.2f} to {now[0].mean:.2f} while {answer} fell from {then[1].mean:.2f} to "
        f"{now[1].mean:.2f}, over {limits.window} rounds each",
        now[0].since,
    )


DETECTOR = Detector(find, everything)
