"""Rewards whose signal is known beforehand: a number that follows from the text, so that a group's rewards differ."""

import zlib
from typing import Any


def always(completions: list[Any], prompts: list[Any], **columns: Any) -> list[float | None]:
    """A reward between 0 and 1 that follows from the completion's text: every group has signal."""
    return [zlib.crc32(_text(completion).encode()) % 1000 / 1000 for completion in completions]


def half(completions: list[Any], prompts: list[Any], **columns: Any) -> list[float | None]:
    """As `always`, but 0 where the row's column `quiet` is true: those groups have none."""
    scores = always(completions, prompts)
    return [0.0 if quiet else score for quiet, score in zip(columns["quiet"], scores, strict=True)]


def _text(completion: Any) -> str:
    return completion if isinstance(completion, str) else completion[-1]["content"]
