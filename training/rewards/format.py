"""Reward `format`: the required tags, each once, in order, with something inside and nothing after the last one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from data.errors import UserError


def format_tags(
    completions: list[str], prompts: list[str], tags: Sequence[str] = ("answer",), **columns: Any
) -> list[float | None]:
    """Return 1.0 where every `<tag>...</tag>` of `tags` stands once, in that order and not nested, filled, else 0.0.

    Text before the first tag and between tags is free; after the last one only whitespace is. Tags are case-sensitive.
    """
    return [1.0 if _well_formed(completion, tags) else 0.0 for completion in completions]


def check_tags(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless `tags` is a list of different tag names."""
    tags = parameters["tags"]
    if not isinstance(tags, (list, tuple)) or not tags or len(set(map(str, tags))) != len(tags):
        raise UserError(
            f"reward format: tags={tags!r} is not accepted; give a list of different names, as [think, answer]"
        )
    for tag in tags:
        if not isinstance(tag, str) or not re.fullmatch(r"[A-Za-z][\w-]*", tag):
            raise UserError(f"reward format: the tag {tag!r} is not accepted; use letters, digits, _ and -")


def _well_formed(completion: str, tags: Sequence[str]) -> bool:
    end = 0
    for tag in tags:
        opening, closing = f"<{tag}>", f"</{tag}>"
        if completion.count(opening) != 1 or completion.count(closing) != 1:
            return False
        start, stop = completion.index(opening), completion.index(closing)
        if start < end or not completion[start + len(opening) : stop].strip():
            return False
        end = stop + len(closing)
    return not completion[end:].strip()
