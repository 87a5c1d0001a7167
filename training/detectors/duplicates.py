"""Completions of a prompt repeat one another word for word: the group compares a text with itself."""

from training.config.health import Duplicates
from training.detectors.detector import Detector, Finding, History, Samples
from training.detectors.series import is_new, last

METRIC = "completions/duplicate_share"


def find(history: History, limits: Duplicates) -> Finding | None:
    """Judge the mean over the window of rollout rounds."""
    window = last(history, METRIC, limits.window) if is_new(history, METRIC) else None
    if window is None or window.mean < limits.above:
        return None
    return Finding(
        f"{window.mean:.0%} of the completions of {limits.window} rounds repeat one of their group", window.since
    )


def rows(samples: Samples) -> list[int]:
    """The completions that say the same as an earlier one to the same prompt."""
    seen: set[tuple[str, str]] = set()
    places = []
    for place, sample in enumerate(samples):
        said = (sample["prompt"], sample["completion"])
        if said in seen:
            places.append(place)
        seen.add(said)
    return places


def duplicate_share(prompts: list[str], completions: list[str]) -> float:
    """What METRIC reports: of all but the first completion of each prompt, the share that repeats an earlier one."""
    pairs = list(zip(prompts, completions, strict=True))
    others = len(pairs) - len(set(prompts))
    return (len(pairs) - len(set(pairs))) / others if others else 0.0


DETECTOR = Detector(find, rows)
