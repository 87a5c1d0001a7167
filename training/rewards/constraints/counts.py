"""IFBench's instructions about how many different things a text holds."""

import re
import string
from collections.abc import Callable

from training.rewards.constraints.sentences import PUNCTUATION, bare_words

CONJUNCTIONS = frozenset({"and", "but", "for", "nor", "or", "so", "yet"})
PRONOUNS = frozenset(
    [
        "i",
        "me",
        "my",
        "mine",
        "myself",
        "we",
        "us",
        "our",
        "ours",
        "ourselves",
        "you",
        "your",
        "yours",
        "yourself",
        "yourselves",
        "he",
        "him",
        "his",
        "himself",
        "she",
        "her",
        "hers",
        "herself",
        "it",
        "its",
        "itself",
        "they",
        "them",
        "their",
        "theirs",
        "themselves",
    ]
)
PERSON_NAMES = [
    "Emma",
    "Liam",
    "Sophia",
    "Jackson",
    "Olivia",
    "Noah",
    "Ava",
    "Lucas",
    "Isabella",
    "Mason",
    "Mia",
    "Ethan",
    "Charlotte",
    "Alexander",
    "Amelia",
    "Benjamin",
    "Harper",
    "Leo",
    "Zoe",
    "Daniel",
    "Chloe",
    "Samuel",
    "Lily",
    "Matthew",
    "Grace",
    "Owen",
    "Abigail",
    "Gabriel",
    "Ella",
    "Jacob",
    "Scarlett",
    "Nathan",
    "Victoria",
    "Elijah",
    "Layla",
    "Nicholas",
    "Audrey",
    "David",
    "Hannah",
    "Christopher",
    "Penelope",
    "Thomas",
    "Nora",
    "Andrew",
    "Aria",
    "Joseph",
    "Claire",
    "Ryan",
    "Stella",
    "Jonathan",
]
"""The names that the instruction itself lists."""


def unique_words(text: str, N: int) -> bool:
    """At least N different words occur; case does not matter."""
    return len({word.strip(string.punctuation + " ") for word in text.lower().split()}) >= N


def conjunctions(text: str, small_n: int) -> bool:
    """At least so many different coordinating conjunctions occur."""
    words = {word.strip(string.punctuation + " ").lower() for word in text.split()}
    return len(words & CONJUNCTIONS) >= small_n


def person_names(text: str, N: int) -> bool:
    """At least N of the names listed in the instruction occur."""
    return sum(name in text for name in PERSON_NAMES) >= N


def numbers(text: str, N: int) -> bool:
    """Exactly N numbers occur; punctuation inside one does not split it."""
    return len(re.findall(r"\d+", text.translate(PUNCTUATION))) == N


def pronouns(text: str, N: int) -> bool:
    """At least N pronouns occur, each time counted."""
    return sum(word in PRONOUNS for word in bare_words(text.replace("/", " ").lower())) >= N


def punctuation_cover(text: str) -> bool:
    """Every standard mark occurs beside an interrobang (?!)."""
    if not any(mark in text for mark in ("!?", "?!", "‽")):
        return False
    rest = text.replace("?!", "", 1) if "?!" in text else text.replace("!?", "", 1)
    return all(mark in rest for mark in ".,!?;:")


def multiples_of_seven(text: str) -> bool:
    """The numbers of the text are the multiples of 7 from 10 to 50, in order."""
    return re.findall(r"\d+", text) == ["14", "21", "28", "35", "42", "49"]


KINDS: dict[str, Callable[..., bool]] = {
    "count:unique_word_count": unique_words,
    "count:conjunctions": conjunctions,
    "count:person_names": person_names,
    "count:numbers": numbers,
    "count:pronouns": pronouns,
    "count:punctuation": punctuation_cover,
    "custom:multiples": multiples_of_seven,
}
