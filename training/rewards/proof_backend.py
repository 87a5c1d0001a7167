"""What a proof checker must do to stand behind the reward `proof`, and what the checkers share.

The harness writes the statement under a name that the model cannot know, and the model's text stands between the
statement and its end. A backend refuses texts that could do more than prove (`refusal`), then has the checker decide,
and reads from the checker's own words which axioms the proof rests on.
"""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from data.errors import UserError
from training.sandbox.runner import Place, Result

_WORD = re.compile(r"[^\W\d][\w']*", re.ASCII)


@dataclass(frozen=True)
class Goal:
    """What is to be proved: imports and definitions, what stands between the name and its colon, and the statement."""

    statement: str
    preamble: str = ""
    binders: str = ""


class Backend(Protocol):
    """One proof checker."""

    languages: Collection[str]
    axioms: Sequence[str]
    program: str
    install: str

    def refusal(self, proof: str) -> str | None:
        """Return why a text is no proof script at all, None if it may be one."""

    def text_of(self, block: str) -> str:
        """Return a proof without the words that the harness writes around it."""

    def source(self, goal: Goal, proof: str, name: str) -> str:
        """Return the file that the checker gets."""

    def check(self, source: str, place: Place) -> Result:
        """Run the checker in the sandbox."""

    def axioms_used(self, result: Result, name: str) -> list[str] | None:
        """Return the axioms of a proof that was accepted, None where it was not, or where they cannot be told."""


def find_program(backend: Backend) -> str:
    """Return the path of a backend's program; UserError where it is not installed."""
    path = shutil.which(backend.program)
    if path is None:
        raise UserError(f"reward proof: {backend.program} is not on the PATH; {backend.install}")
    return os.path.realpath(path)


def forbidden_word(text: str, words: Collection[str]) -> str | None:
    """Return the first of `words` that stands in `text` as a word of its own."""
    return next((word for word in _WORD.findall(text) if word in words), None)


def without_nested(text: str, opening: str, closing: str) -> str | None:
    """Return `text` with every nested comment replaced by a space, None where they do not balance."""
    kept: list[str] = []
    depth, at = 0, 0
    while at < len(text):
        if text.startswith(opening, at):
            depth, at = depth + 1, at + len(opening)
        elif text.startswith(closing, at):
            depth, at = depth - 1, at + len(closing)
            kept.append(" ")
            if depth < 0:
                return None
        else:
            if depth == 0:
                kept.append(text[at])
            at += 1
    return "".join(kept) if depth == 0 else None
