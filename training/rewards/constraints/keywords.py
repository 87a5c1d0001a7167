"""Instructions about words that must, or must not, occur."""

import re
from collections.abc import Callable, Sequence

from training.rewards.constraints.sentences import bare_words, compare, sentences_of


def existence(text: str, keywords: Sequence[str]) -> bool:
    """Every keyword occurs, also as a part of a word; case does not matter."""
    return all(keyword.casefold() in text.casefold() for keyword in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str = "at least") -> bool:
    """A keyword occurs so often, also as a part of a word; case does not matter."""
    return compare(text.casefold().count(keyword.strip().casefold()), relation, frequency)


def forbidden_words(text: str, forbidden_words: Sequence[str]) -> bool:
    """None of the words occurs as a whole word."""
    return not any(re.search(rf"\b{re.escape(word)}\b", text, re.IGNORECASE) for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str = "at least") -> bool:
    """A letter occurs so often; case does not matter."""
    return compare(text.casefold().count(letter.casefold()), let_relation, let_frequency)


def counted_keywords(text: str, keyword1: str, keyword2: str, keyword3: str, keyword4: str, keyword5: str) -> bool:
    """Five keywords occur once, twice, three, five and seven times (IFBench)."""
    wanted = zip((keyword1, keyword2, keyword3, keyword4, keyword5), (1, 2, 3, 5, 7), strict=True)
    return all(len(re.findall(re.escape(word), text, re.IGNORECASE)) == count for word, count in wanted)


def keyword_in_sentence(text: str, word: str, N: int) -> bool:
    """A keyword stands in sentence N, counted from 1 (IFBench)."""
    sentences = sentences_of(text)
    return len(sentences) >= N and word.casefold() in sentences[N - 1].casefold()


def repeats(text: str, small_n: int) -> bool:
    """No word occurs more than `small_n` times (IFBench)."""
    words = bare_words(text.lower())
    return all(words.count(word) <= small_n for word in set(words))


KINDS: dict[str, Callable[..., bool]] = {
    "keywords:existence": existence,
    "keywords:frequency": frequency,
    "keywords:forbidden_words": forbidden_words,
    "keywords:letter_frequency": letter_frequency,
    "count:keywords_multiple": counted_keywords,
    "sentence:keyword": keyword_in_sentence,
    "words:repeats": repeats,
}
