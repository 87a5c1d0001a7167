"""Instructions about letters' case, commas and the language of the whole text."""

from collections.abc import Callable

from training.rewards.constraints.sentences import compare
from training.rewards.language import share_in

MIN_SHARE = 0.8
"""Share of a text's words that must be in a language for the text to be in it: names and quotations are not."""


def all_capitals(text: str) -> bool:
    """English, in capital letters only."""
    return text.isupper() and _is_in(text.lower(), "en")


def all_lowercase(text: str) -> bool:
    """English, in small letters only."""
    return text.islower() and _is_in(text, "en")


def capital_words(text: str, capital_frequency: int, capital_relation: str = "at least") -> bool:
    """So many words are in capital letters only."""
    words = [word.strip(".,;:!?\"'()[]*_") for word in text.split()]
    return compare(sum(word.isupper() for word in words), capital_relation, capital_frequency)


def no_comma(text: str) -> bool:
    """No comma of any script occurs."""
    return not any(comma in text for comma in ",،，、፣")


def response_language(text: str, language: str) -> bool:
    """The text is in a language, named by its ISO 639-1 code."""
    return _is_in(text, language)


def _is_in(text: str, language: str) -> bool:
    share = share_in(text, language)
    return share is not None and share >= MIN_SHARE


KINDS: dict[str, Callable[..., bool]] = {
    "change_case:english_capital": all_capitals,
    "change_case:english_lowercase": all_lowercase,
    "change_case:capital_word_frequency": capital_words,
    "punctuation:no_comma": no_comma,
    "language:response_language": response_language,
}
