"""Reward `language`: the share of a completion's words that are in the prompt's language.

DeepSeek-R1 (arXiv 2501.12948, section 2.3.2) rewards "the proportion of target language words" to keep a model from
mixing languages while it reasons. Code, mathematics, links and tags are left out of the count: they are in no language.

Words are told apart by script; where a script serves several languages, whole sentences are identified. A Han or kana
character counts as a word. Sentences too short to identify go with the rest of the completion, and are given the
benefit of the doubt where that is short too.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import regex

from data.errors import UserError
from training.rewards.language_id import KANA, identify, known_languages, same_language, script_of, scripts_of
from training.rewards.words import words_of

_NO_LANGUAGE = regex.compile(
    r"```.*?(?:```|\Z)"
    r"|`[^`\n]+`"
    r"|\$\$.*?\$\$|\$[^$\n]+\$"
    r"|\\\(.*?\\\)|\\\[.*?\\\]"
    r"|\\begin\{(?P<environment>[^}]*)\}.*?\\end\{(?P=environment)\}"
    r"|\\(?:boxed|fbox)\{[^{}]*\}|\\[A-Za-z]+"
    r"|https?://\S+|\S+@\S+\.\S+"
    r"|</?[A-Za-z_][^<>]*>",
    regex.DOTALL,
)
MIN_HAN = 6
"""Han characters without kana below which a Japanese text may still be Japanese."""
NO_SCRIPT = "other"
"""Stands for scripts we know no language of: their words are foreign everywhere."""

_SENTENCE_END = regex.compile(r"[.!?。！？؟۔।॥።፧\n]+")


def language(
    completions: list[str],
    prompts: list[str],
    language: str | None = None,
    among: tuple[str, ...] | None = None,
    **columns: Any,
) -> list[float | None]:
    """Return the share of words in the prompt's language, from 0 to 1; None without words to judge or a language.

    `language` is the language to write in (null: each prompt's own). `among` names all languages in play: fewer
    candidates make short texts certain. A column `prompt_language` says what a row's prompt is in.
    """
    candidates = tuple(among or ())
    told = columns.get("prompt_language") or [None] * len(prompts)
    wanted = [language or known or language_of(prompt, candidates) for prompt, known in zip(prompts, told, strict=True)]
    return [
        None if target is None else share_in(completion, target, candidates)
        for completion, target in zip(completions, wanted, strict=True)
    ]


def check_language(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless `language` and all of `among` are codes of languages we know."""
    known = known_languages()
    single, among = parameters["language"], parameters["among"]
    if among is not None and (not isinstance(among, list | tuple) or not among):
        raise UserError(f"reward language: among={among!r} is not accepted; give a list of codes, as [en, ur]")
    for code in [*([] if single is None else [single]), *(among or [])]:
        if code not in known:
            raise UserError(f"reward language: {code!r} is no language known here; use one of {', '.join(known)}")
    if single is not None and among is not None and single not in among:
        raise UserError(f"reward language: language={single} is not in among={among!r}; add it")


def language_of(text: str, among: tuple[str, ...] = ()) -> str | None:
    """Return the language most of a text is in, None without words or where it is too short to tell."""
    words = _judged(text)
    counts = Counter(script for _, script in words)
    if not counts:
        return None
    if "Han" in counts and any(counts[kana] for kana in KANA):
        counts["Hiragana"] += counts.pop("Han")
    script = counts.most_common(1)[0][0]
    if script == NO_SCRIPT:
        return None
    return identify(_joined(words, script), script, among)


def share_in(text: str, target: str, among: tuple[str, ...] = ()) -> float | None:
    """Return the share of a text's words that are in `target`, None without words."""
    sentences = [words for part in _SENTENCE_END.split(_plain(text)) if (words := _with_scripts(part))]
    everything = [word for words in sentences for word in words]
    if not everything:
        return None
    whole = {script: _is_target(everything, script, target, among) is not False for script in scripts_of(target)}
    right = 0
    for words in sentences:
        for script, count in Counter(script for _, script in words).items():
            if script in whole:
                verdict = _is_target(words, script, target, among)
                right += count * (whole[script] if verdict is None else verdict)
    return right / len(everything)


def _is_target(words: list[tuple[str, str]], script: str, target: str, among: tuple[str, ...]) -> bool | None:
    """Whether words of a script that `target` is written in are in it; None where they are too few to tell."""
    if script == "Han":
        has_kana = any(other in KANA for _, other in words)
        if target == "zh":
            return not has_kana
        return True if has_kana else None if len(words) < MIN_HAN else False
    found = identify(_joined(words, script), script, among)
    return None if found is None else same_language(found, target)


def _plain(text: str) -> str:
    """Return a text with what is in no language left out."""
    return _NO_LANGUAGE.sub(" \n ", text)


def _with_scripts(text: str) -> list[tuple[str, str]]:
    words = [word for word in words_of(text) if any(character.isalpha() for character in word)]
    return [(word, script_of(word) or NO_SCRIPT) for word in words]


def _judged(text: str) -> list[tuple[str, str]]:
    return _with_scripts(_plain(text))


def _joined(words: list[tuple[str, str]], script: str) -> str:
    return " ".join(word for word, own in words if own == script)
