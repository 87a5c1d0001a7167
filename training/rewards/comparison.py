"""Are two answers the same? By the type of the expected one: number, quantity, interval, list, word, expression.

Deliberate choices against answers that only look right stand in `training.rewards.answer`.
"""

import re

from training.rewards.equivalence import equivalent
from training.rewards.interval import intervals, is_certain
from training.rewards.number_text import NUMBER, Number, find_numbers, plain_digits, whole_number
from training.rewards.units import Unit, unit_of

_LIST_SEPARATOR = re.compile(r"\s*(?:[,;،、]|\n)\s*")
_NOT_ONE_VALUE = re.compile(r"\d\s*[-+*×^]\s*[\d(]|[-+*/]\s*\(|[\\√²³⁰-⁹]|\b(?:not|or)\b", re.IGNORECASE)
_CONTINUES = re.compile(r"[\w*+/^-]")
_QUOTES = " *`'\"‘’“”"
_SYMBOLIC = re.compile(r"\S*\d[a-z]")
"""A number with one letter at it may be a product, as 3m."""


def equal(given: str, gold: str, prompt: str) -> bool:
    """Return whether `given` is the expected answer `gold` to `prompt`, both unwrapped."""
    if words(given) == words(gold):
        return True
    number = whole_number(gold)
    if number is not None:
        return _same_number(given, number, "%" in gold)
    quantity = _quantity(gold)
    if quantity is not None:
        if _same_quantity(given, *quantity):
            return True
        if not _SYMBOLIC.fullmatch(gold.strip()):
            return False
    if is_certain(gold) or (intervals(gold) is not None and is_certain(given)):
        return intervals(given) == intervals(gold)
    expected = items(gold)
    if expected is not None:
        return _same_items(items(given, single=True), expected) and not _other_brackets(given, gold, expected)
    if not re.search(r"[a-zA-Z\\]", gold):
        return _operators(given) == _operators(gold)  # Arithmetic without symbols is never evaluated.
    if not re.search(r"[-+*/^\\()=\d]", gold) or _stands_in(prompt, given):
        return False
    return equivalent(gold, given)


def items(text: str, single: bool = False) -> list[str] | None:
    """Return the items of a flat list such as "['1', '2']", "1, 2" or "(a; b)", None if `text` is none.

    One item without brackets is a list only if `single`.
    """
    inner = text.strip().rstrip(".").strip()
    bracketed = len(inner) > 1 and (inner[0], inner[-1]) in (("[", "]"), ("(", ")"), ("{", "}"))
    if bracketed:
        inner = inner[1:-1].strip()
    if any(bracket in inner for bracket in "[]{}()"):
        return None
    if not inner:
        return [] if bracketed else None
    found = [item.strip().strip("'\"‘’“”`").strip() for item in _LIST_SEPARATOR.split(inner)]
    return found if bracketed or single or len(found) > 1 else None


def words(text: str) -> str:
    """Return a text for comparison: case, spacing, quotes around it and a full stop behind it do not matter."""
    plain = " ".join(plain_digits(text).casefold().split())
    return plain.strip(_QUOTES).rstrip(".。।").strip(_QUOTES)


def _same_number(given: str, expected: Number, is_percentage: bool) -> bool:
    """Whether the one number that `given` names is `expected`; "x = 7" and "7 legs" name one, "7 or 8" does not.

    A percentage may be given as a share (0.5 for 50 %), and a share as a percentage.
    """
    number = whole_number(given)
    if number is None:
        text = plain_digits(given).rpartition("=")[2]
        if _NOT_ONE_VALUE.search(text):
            return False
        found = find_numbers(text)
        if not found or any(other.value != found[0].value for other in found) or len(re.findall(r"\d", text)) > 400:
            return False
        number = found[0]
    if expected.is_fraction and number.is_fraction and not number.in_lowest_terms:
        return False
    value, said_percent = number.value, "%" in plain_digits(given)
    if is_percentage:
        return value == expected.value or (not said_percent and value * 100 == expected.value)
    return value == expected.value or (said_percent and value == expected.value * 100)


def _same_quantity(given: str, number: Number, unit: Unit) -> bool:
    """Whether `given` is a quantity of that size, or the number without its unit."""
    bare = whole_number(given)
    if bare is not None:
        return bare.value == number.value
    found = _quantity(plain_digits(given).rpartition("=")[2])
    if found is None or _NOT_ONE_VALUE.search(given.replace("²", "").replace("³", "").partition("^")[0]):
        return False
    other = found[1]
    return unit.dimension == other.dimension and number.value * unit.size == found[0].value * other.size


def _quantity(text: str) -> tuple[Number, Unit] | None:
    """The number and unit that a text is, None if it is anything else."""
    plain = plain_digits(text).strip()
    match = NUMBER.match(plain)
    unit = unit_of(plain[match.end() :]) if match else None
    number = whole_number(match[0]) if match else None
    return None if number is None or unit is None else (number, unit)


def _same_items(given: list[str] | None, expected: list[str]) -> bool:
    if given is None or len(given) != len(expected):
        return False
    return all(_same_item(mine, theirs) for mine, theirs in zip(given, expected, strict=True))


def _same_item(given: str, expected: str) -> bool:
    number, other = whole_number(expected), whole_number(given)
    if number is not None and other is not None:
        return number.value == other.value
    return words(given) == words(expected)


def _operators(text: str) -> str:
    """Return arithmetic for comparison: spacing and the sign that stands for "times" do not matter."""
    return re.sub(r"\s*[x*·⋅]\s*", "×", words(text)).replace(" ", "")


def _stands_in(prompt: str, given: str) -> bool:
    """Whether the prompt holds the expression `given`, spacing aside, as a whole rather than as a part of another."""
    places = [place for place, character in enumerate(prompt) if not character.isspace()]
    dense, wanted = "".join(prompt.split()), "".join(given.split())
    at = dense.find(wanted) if wanted else -1
    while at >= 0:
        first, last = places[at], places[at + len(wanted) - 1]
        if not _CONTINUES.match(prompt[first - 1 : first]) and not _CONTINUES.match(prompt[last + 1 : last + 2]):
            return True
        at = dense.find(wanted, at + 1)
    return False


def _other_brackets(given: str, gold: str, expected: list[str]) -> bool:
    """Whether two numbers stand in round brackets here and in square ones there: (1, 2) is not the interval [1, 2]."""
    if len(expected) != 2 or any(whole_number(item) is None for item in expected):
        return False
    opens = (given.strip()[:1], gold.strip()[:1])
    return set(opens) == {"(", "["}
