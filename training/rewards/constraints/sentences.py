"""Words, sentences and comparisons as the checks of instructions count them."""

import re
import string

_WORD = re.compile(r"\w+")
# A full stop after one capital (J. Smith), a title or between digits (3.14) ends nothing.
_ABBREVIATION = re.compile(r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|vs|etc|e\.g|i\.e)|(?<![^\W\d_])[A-Z])\.$")
_END = re.compile(r"(?:[.!?]+[\"'”’)\]]*(?=\s|$))|[。！？؟۔।።]+")

PUNCTUATION = str.maketrans("", "", string.punctuation)


def num_words(text: str) -> int:
    """Return the number of words: runs of letters, digits and underscores."""
    return len(_WORD.findall(text))


def bare_words(text: str) -> list[str]:
    """Return what white space separates, ASCII punctuation removed and nothing empty."""
    return text.translate(PUNCTUATION).split()


def sentences_of(text: str) -> list[str]:
    """Return the sentences of a text with their end marks; a last one may have none."""
    sentences, start = [], 0
    for end in _END.finditer(text):
        piece = text[start : end.end()].strip()
        if _ABBREVIATION.search(piece):
            continue
        if piece:
            sentences.append(piece)
        start = end.end()
    rest = text[start:].strip()
    return [*sentences, rest] if rest else sentences


def compare(found: int, relation: str, wanted: int) -> bool:
    """Return whether `found` is "at least", "less than", "at most" or "exactly" `wanted`; others are a ValueError."""
    if relation == "at least":
        return found >= wanted
    if relation == "less than":
        return found < wanted
    if relation == "at most":
        return found <= wanted
    if relation == "exactly":
        return found == wanted
    raise ValueError(f"relation {relation!r} is none of: at least, less than, at most, exactly")
