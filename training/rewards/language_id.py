"""Which language a text is in: by its script where that decides, else by py3langid among the script's languages.

The edge to py3langid (its model is in the package: nothing is downloaded). Languages are ISO 639-1 codes.
"""

from copy import copy
from functools import cache, lru_cache
from typing import Any

import regex

SCRIPTS: dict[str, tuple[str, ...]] = {
    "Bengali": ("bn",),
    "Ethiopic": ("am",),
    "Han": ("zh", "ja"),
    "Hiragana": ("ja",),
    "Katakana": ("ja",),
    "Hangul": ("ko",),
    "Greek": ("el",),
    "Hebrew": ("he",),
    "Thai": ("th",),
    "Tamil": ("ta",),
    "Telugu": ("te",),
    "Gujarati": ("gu",),
    "Kannada": ("kn",),
    "Malayalam": ("ml",),
    "Gurmukhi": ("pa",),
    "Oriya": ("or",),
    "Sinhala": ("si",),
    "Khmer": ("km",),
    "Lao": ("lo",),
    "Georgian": ("ka",),
    "Armenian": ("hy",),
    "Arabic": ("ar", "fa", "ur", "ps", "ug"),
    "Devanagari": ("hi", "mr", "ne"),
    "Cyrillic": ("ru", "uk", "be", "bg", "mk", "sr", "kk", "ky", "mn"),
    "Latin": (
        *("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi", "id", "ms", "sw", "ro", "cs", "sk", "hu", "sv"),
        *("da", "no", "nb", "nn", "fi", "hr", "bs", "sl", "et", "lv", "lt", "ca", "gl", "eu", "sq", "is", "ga", "cy"),
        *("af", "az", "tl", "mt", "la", "xh", "zu", "rw", "ht", "mg", "lb"),
    ),
}
"""The languages that a script decides between; a script that is not here belongs to no language we know."""

KANA = ("Hiragana", "Katakana")
RELATIVES = (frozenset({"no", "nb", "nn"}), frozenset({"hr", "bs", "sr"}), frozenset({"id", "ms"}))
"""Languages that no identifier tells apart in a sentence: one passes for the other."""

MIN_LETTERS = 12
"""Letters and marks below which an identifier only guesses."""

_SCRIPT = regex.compile("|".join(rf"(?P<{name}>\p{{Script={name}}})" for name in SCRIPTS))


def script_of(word: str) -> str | None:
    """Return the script of a word's first letter, None where it is one we do not know."""
    found = _SCRIPT.search(word)
    return None if found is None else found.lastgroup


def scripts_of(language: str) -> tuple[str, ...]:
    """Return the scripts that a language is written in, none for a language we do not know."""
    return tuple(script for script, languages in SCRIPTS.items() if language in languages)


def known_languages() -> list[str]:
    """Return every language that can be asked for, in order."""
    return sorted({language for languages in SCRIPTS.values() for language in languages})


def identify(text: str, script: str, among: tuple[str, ...] = ()) -> str | None:
    """Return the most likely language of `text`, all in one script; None where it is too short to tell.

    `among` leaves only these languages. Han is Chinese: whoever knows of kana beside it decides before.
    """
    candidates = tuple(name for name in SCRIPTS[script] if not among or name in among)
    if len(candidates) == 1:
        return candidates[0]
    if script == "Han":
        return "zh" if "zh" in candidates else None
    if not candidates or len("".join(text.split())) < MIN_LETTERS:
        return None
    language: str = _identifier(candidates).classify(text)[0]
    return language


def same_language(one: str | None, other: str) -> bool:
    """Whether two languages are one, or relatives that cannot be told apart."""
    return one == other or any(one in relatives and other in relatives for relatives in RELATIVES)


@lru_cache(maxsize=64)
def _identifier(candidates: tuple[str, ...]) -> Any:
    identifier = copy(_model())
    identifier.set_languages([name for name in candidates if name in identifier.labels])
    return identifier


@cache
def _model() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE)
