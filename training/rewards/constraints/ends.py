"""Instructions about how a text begins and ends, and about saying something twice."""

import re
from collections.abc import Callable

_POSTSCRIPTS = {
    "P.P.S": re.compile(r"^\s*p\.\s?p\.\s?s\b.*\S", re.IGNORECASE | re.MULTILINE),
    "P.S.": re.compile(r"^\s*p\.\s?s\.\s*\S", re.IGNORECASE | re.MULTILINE),
}


def end_checker(text: str, end_phrase: str) -> bool:
    """The text ends with a phrase, quotes aside; case does not matter."""
    return text.strip().strip('"').casefold().endswith(end_phrase.strip().casefold())


def quotation(text: str) -> bool:
    """The whole text stands in double quotes."""
    stripped = text.strip()
    return len(stripped) > 2 and stripped.startswith('"') and stripped.endswith('"')


def postscript(text: str, postscript_marker: str) -> bool:
    """A line begins with a postscript marker (P.S. or P.P.S, or another word) and goes on after it."""
    marker = postscript_marker.strip()
    pattern = _POSTSCRIPTS.get(marker) or re.compile(rf"^\s*{re.escape(marker)}.*$", re.IGNORECASE | re.MULTILINE)
    return pattern.search(text) is not None


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    """The text begins with the request, repeated word for word, and goes on; case does not matter."""
    said, asked = text.strip().casefold(), prompt_to_repeat.strip().casefold()
    return said.startswith(asked)


def two_responses(text: str) -> bool:
    """Two different answers stand on both sides of six asterisks."""
    parts = [part.strip() for part in text.split("******")]
    inner = parts[1:-1] if len(parts) > 2 else parts
    filled = [part for part in parts if part]
    return all(inner) and len(filled) == 2 and filled[0] != filled[1]


KINDS: dict[str, Callable[..., bool]] = {
    "startend:end_checker": end_checker,
    "startend:quotation": quotation,
    "detectable_content:postscript": postscript,
    "combination:repeat_prompt": repeat_prompt,
    "combination:two_responses": two_responses,
}
