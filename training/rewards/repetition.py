"""Reward `repetition`: a penalty for saying the same again, by the share of repeated n-grams.

Yeo et al. 2025 (arXiv 2502.03373, appendix on repetition) punish repeated n-grams; this is the form of one number per
completion that Open-R1 uses: `max_penalty * (1 - distinct n-grams / n-grams)`.

Departures: words are found in any script (a Han or kana character is a word: those scripts write no spaces), and
punctuation is not part of a word, so that "again, again" repeats.
"""

from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from training.rewards.words import words_of


def repetition(
    completions: list[str], prompts: list[str], ngram: int = 3, max_penalty: float = -1.0, **columns: Any
) -> list[float | None]:
    """Return 0.0 where no n-gram of `ngram` words repeats, down towards `max_penalty` where all but one do.

    Completions of fewer than `ngram` words get 0.0.
    """
    return [max_penalty * repeated_share(completion, ngram) + 0.0 for completion in completions]  # 0.0, never -0.0


def repeated_share(text: str, ngram: int) -> float:
    """Return the share of the text's n-grams that stood before already, from 0 to 1."""
    words = [word.casefold() for word in words_of(text)]
    total = len(words) - ngram + 1
    if total <= 0:
        return 0.0
    distinct = {tuple(words[start : start + ngram]) for start in range(total)}
    return 1.0 - len(distinct) / total


def check_repetition(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless `ngram` is a whole number of 1 or more and `max_penalty` is not positive."""
    ngram, penalty = parameters["ngram"], parameters["max_penalty"]
    if isinstance(ngram, bool) or not isinstance(ngram, int) or ngram < 1:
        raise UserError(f"reward repetition: ngram={ngram!r} is not accepted; give a whole number of 1 or more")
    if isinstance(penalty, bool) or not isinstance(penalty, int | float) or penalty > 0:
        raise UserError(f"reward repetition: max_penalty={penalty!r} is not accepted; give 0 or a negative number")
