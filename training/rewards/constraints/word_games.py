"""IFBench's instructions about the letters of words: alphabets, vowels, clusters, palindromes, prime lengths."""

import itertools
import re
import string
from collections.abc import Callable

from training.rewards.constraints.sentences import bare_words

PRIMES = frozenset({2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97})
_CLUSTER = re.compile(r"[bcdfghjklmnpqrstvwxyz]{2}")
_NOTHING_BUT = string.punctuation + " "


def alphabet_loop(text: str) -> bool:
    """Each word begins with the letter after that of the word before, a after z."""
    words = [word.lower() for word in bare_words(text)]
    if not words or words[0][0] not in string.ascii_lowercase:
        return False
    first = string.ascii_lowercase.index(words[0][0])
    return all(word[0] == string.ascii_lowercase[(first + place) % 26] for place, word in enumerate(words))


def three_vowels(text: str) -> bool:
    """One paragraph with no more than three of the vowels a, e, i, o, u."""
    return "\n" not in text.strip() and len(set(text.lower()) & set("aeiou")) <= 3


def consonant_clusters(text: str) -> bool:
    """Every word has two consonants in a row."""
    return all(_CLUSTER.search(word) for word in text.lower().split())


def palindromes(text: str) -> bool:
    """At least ten words of five letters or more read the same backwards."""
    return sum(len(word) >= 5 and word == word[::-1] for word in bare_words(text.lower())) >= 10


def prime_lengths(text: str) -> bool:
    """Every word has a prime number of letters."""
    return all(len(word) in PRIMES for word in bare_words(text))


def no_consecutive_initials(text: str) -> bool:
    """No two words in a row begin with the same letter."""
    words = bare_words(text.lower())
    return all(one[0] != other[0] for one, other in itertools.pairwise(words))


def paragraphs_end_as_they_begin(text: str) -> bool:
    """Every line that is not empty ends with the word it begins with."""
    lines = [line.strip(_NOTHING_BUT).lower().split() for line in text.split("\n") if line.strip()]
    return all(words and words[0] == words[-1] for words in lines)


KINDS: dict[str, Callable[..., bool]] = {
    "words:alphabet": alphabet_loop,
    "words:vowel": three_vowels,
    "words:consonants": consonant_clusters,
    "words:palindrome": palindromes,
    "words:prime_lengths": prime_lengths,
    "words:no_consecutive": no_consecutive_initials,
    "words:paragraph_last_first": paragraphs_end_as_they_begin,
}
