"""Instructions about how long a text is: words, sentences, paragraphs."""

import re
import string
from collections.abc import Callable

from training.rewards.constraints.sentences import compare, num_words, sentences_of


def number_words(text: str, num_words: int, relation: str = "at least") -> bool:
    """The text has so many words."""
    return compare(_count_words(text), relation, num_words)


def number_sentences(text: str, num_sentences: int, relation: str = "at least") -> bool:
    """The text has so many sentences."""
    return compare(len(sentences_of(text)), relation, num_sentences)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """The text has exactly so many paragraphs, separated by ***, none of them empty."""
    parts = [part.strip() for part in re.split(r"\s?\*\*\*\s?", text)]
    inner = parts[1:-1] if len(parts) > 1 else parts
    return all(inner) and sum(bool(part) for part in parts) == num_paragraphs


def paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """The text has so many paragraphs, separated by blank lines, and paragraph `nth_paragraph` begins with a word."""
    paragraphs = [part.strip() for part in re.split(r"\n\s*\n", text) if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    begins = paragraphs[nth_paragraph - 1].split()[0].strip(string.punctuation + "“”‘’")
    return begins.casefold() == first_word.strip().casefold()


def word_count_range(text: str, min_words: int, max_words: int) -> bool:
    """The text has from `min_words` to `max_words` words (IFBench)."""
    return min_words <= _count_words(text) <= max_words


def _count_words(text: str) -> int:
    return num_words(text)


KINDS: dict[str, Callable[..., bool]] = {
    "length_constraints:number_words": number_words,
    "length_constraints:number_sentences": number_sentences,
    "length_constraints:number_paragraphs": number_paragraphs,
    "length_constraints:nth_paragraph_first_word": paragraph_first_word,
    "count:word_count_range": word_count_range,
}
