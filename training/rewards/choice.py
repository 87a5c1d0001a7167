"""Reward `choice`: is the letter of the right option chosen? For multiple-choice questions with one right answer.

Order, as in reward `answer`: the last complete <answer> tag; else the last \\boxed{}; else the last statement of a
choice ("the answer is (B)", "Answer: B"); else a last line that is nothing but a choice. What is found must be one
letter, with or without its option's text. A letter inside running text ("A cat sat") is no choice.

Deliberate: naming several letters, or hedging ("B or C"), is wrong even where the first one is right.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from training.rewards.extract import boxed, tagged, unwrap, visible_text

_STATED = re.compile(
    r"\b(?:answer|choice|option)\b\s*(?:is|:|=)+\s*(?:option\s+|choice\s+|letter\s+)?"
    r"[\s*_`\"'(\[]*((?-i:[A-Z])|(?<=[(\[])[a-z](?=[)\]]))(?![A-Za-z])(?=([^\n]*))",
    re.IGNORECASE,
)
_ALONE = re.compile(r"[\s*_`\"'(\[]*([A-Za-z])[\s*_`\"')\].:]*$")
_LED = re.compile(r"[\s*_`\"'(\[]*([A-Z])[*_`\"')\]]*[.):]\s*(\S.*)", re.DOTALL)
_ANOTHER = re.compile(r"(?i:\b(?:or|and|not)\b)|/|,\s*\(?[A-Z]\)?(?![A-Za-z])")
_OPTION_LINE = re.compile(r"^\s*\(?([A-Z])[.):]\s+(\S.*?)\s*$", re.MULTILINE)


def choice(
    completions: list[str], prompts: list[str], answer: list[Any], strict: bool = False, **columns: Any
) -> list[float | None]:
    """Return 1.0 where the completion chooses the letter in the column `answer`, else 0.0; None where that is null.

    The options' texts are read from the prompt's lines "A. ...": a text repeated word for word counts as its letter.
    `strict` takes <answer> tags only.
    """
    rows = zip(completions, prompts, answer, strict=True)
    return [
        None if right is None else float(chosen(completion, prompt, strict) == str(right).strip().upper())
        for completion, prompt, right in rows
    ]


def chosen(completion: str, prompt: str, strict: bool = False) -> str | None:
    """Return the letter that the completion chooses, upper case, or None."""
    text = visible_text(completion, prompt)
    options = dict(_OPTION_LINE.findall(prompt))
    explicit = tagged(text)
    if explicit is None and not strict:
        explicit = boxed(text)
    if explicit is not None:
        return _letter(unwrap(explicit), options)
    return None if strict else _stated(text, options)


def _letter(given: str, options: Mapping[str, str]) -> str | None:
    """The one letter that an explicit answer is: alone, before its option's text, or that text without it."""
    alone = _ALONE.fullmatch(given.strip())
    if alone:
        return alone[1].upper()
    for letter, option in options.items():
        if _same(given, option):
            return letter
    led = _LED.fullmatch(given.strip())
    if led and (_same(led[2], options.get(led[1], led[2])) and not _ANOTHER.search(led[2] if not options else "")):
        return led[1]
    return None


def _stated(text: str, options: Mapping[str, str]) -> str | None:
    """The letter of the last statement of a choice, else of a last line that is a letter or an option."""
    statements = list(_STATED.finditer(text))
    if statements:
        last = statements[-1]
        return None if _ANOTHER.match(last[2].lstrip(" *_`\"')].")) else last[1].upper()
    lines: Sequence[str] = [line.strip() for line in text.splitlines() if line.strip()]
    return _letter(lines[-1], options) if lines else None


def _same(given: str, option: str) -> bool:
    return given.strip().strip(".\"'*").casefold() == option.strip().strip(".\"'*").casefold()
