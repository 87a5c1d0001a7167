"""Reward `exact`: is the answer the expected text, character for character but for what the parameters forgive?

For answers whose spelling is the task: a word reversed, a code, a name. Nothing is extracted from running text: the
answer is the last complete <answer> tag, or all of what is said beside thinking where there is no tag.
"""

import unicodedata
from typing import Any

from training.rewards.extract import tagged, visible_text


def exact(
    completions: list[str],
    prompts: list[str],
    answer: list[Any],
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    **columns: Any,
) -> list[float | None]:
    """Return 1.0 where the answer is the text of the column `answer`, else 0.0; None where that is null.

    Unicode is compared in its composed form (NFC), and runs of white space as one space, none at the ends.
    """
    rows = zip(completions, prompts, answer, strict=True)
    return [
        None
        if expected is None
        else float(
            _plain(given(completion), ignore_case, ignore_punctuation)
            == _plain(str(expected), ignore_case, ignore_punctuation)
        )
        for completion, _, expected in rows
    ]


def given(completion: str) -> str:
    """The inside of the last complete <answer> tag, else everything beside the thinking."""
    text = visible_text(completion, "")
    inside = tagged(text)
    return text if inside is None else inside


def _plain(text: str, ignore_case: bool, ignore_punctuation: bool) -> str:
    text = unicodedata.normalize("NFC", text)
    if ignore_punctuation:
        text = "".join(character for character in text if not unicodedata.category(character).startswith("P"))
    if ignore_case:
        text = text.casefold()
    return " ".join(text.split())
