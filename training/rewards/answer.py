"""Reward `answer`: is the final answer right? The one lenient extractor by which every model is judged.

Order: the last complete <answer> tag; else the last \\boxed{}; else (not under `strict`) the last value of the expected
answer's type in the text. Then normalised equality by type (number, list, word), and for expressions with symbols
math-verify.

Deliberate choices against answers that only look right:
1. An explicit answer must be one value: "7 or 8" in a tag is wrong, and so is a last value that "or" joins to another.
2. Arithmetic is never evaluated: "3 + 4" does not answer 7, or repeating the question would earn the reward.
3. Where the expected answer is a fraction, a fraction given must be in lowest terms, for the same reason.
4. math-verify is not asked about an expression that stands in the prompt.
5. Thinking does not count, nor does the prompt repeated.
"""

import re
from typing import Any

from training.rewards.equivalence import equivalent
from training.rewards.extract import boxed, plain_latex, tagged, unwrap, visible_text
from training.rewards.number_text import Number, find_numbers, plain_digits, whole_number

# Answers from a closed set: the last member that the text mentions is the answer.
CLOSED_SETS = (
    frozenset({"yes", "no"}),
    frozenset({"true", "false"}),
    frozenset({"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}),
)
_LIST_SEPARATOR = re.compile(r"\s*(?:[,;،、]|\n)\s*")
_NOT_ONE_VALUE = re.compile(r"\d\s*[-+*×^]\s*[\d(]|[-+*/]\s*\(|[\\√²³⁰-⁹]|\b(?:not|or)\b", re.IGNORECASE)
_LEAD_IN = re.compile(r".*(?::|=|->|→|\b(?:is|are|be)\b)\s*(?=\S)", re.IGNORECASE | re.DOTALL)
_CONTINUES = re.compile(r"[\w*+/^-]")
_QUOTES = " *`'\"‘’“”"
_QUOTED = re.compile(r"\*\*([^*\n]+)\*\*|`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”")


def answer(
    completions: list[str], prompts: list[str], answer: list[Any], strict: bool = False, **columns: Any
) -> list[float | None]:
    """Return 1.0 where the completion's final answer equals the column `answer`, 0.0 where not, None where it is null.

    `strict` takes tags only: no complete <answer> tag, no reward.
    """
    rows = zip(completions, prompts, answer, strict=True)
    return [
        None if expected is None else float(is_right(completion, str(expected), prompt, strict))
        for completion, prompt, expected in rows
    ]


def is_right(completion: str, expected: str, prompt: str = "", strict: bool = False) -> bool:
    """Return whether `completion` ends in the answer `expected` to `prompt`."""
    gold = unwrap(expected)
    return any(_equal(given, gold, prompt) for given in _given(completion, gold, prompt, strict))


def extract(completion: str, expected: str, prompt: str = "") -> str | None:
    """Return the completion's final answer in one spelling per value, as votes are counted; None if there is none.

    `expected` gives the type of answer to look for. Of several readings of a worded answer the right one is taken.
    """
    gold = unwrap(expected)
    readings = _given(completion, gold, prompt, strict=False)
    if not readings:
        return None
    right = [given for given in readings if _equal(given, gold, prompt)]
    return _words(gold) if right else _spelling(readings[-1])


def _given(completion: str, gold: str, prompt: str, strict: bool) -> list[str]:
    """The readings of a completion's final answer: one if it is explicit, as many as `last_values` if not."""
    text = visible_text(completion, prompt)
    explicit = tagged(text)
    if explicit is None and not strict:
        explicit = boxed(text)
    if explicit is not None:
        return [unwrap(explicit)]
    return [] if strict else last_values(plain_digits(plain_latex(text)), gold)


def last_values(text: str, gold: str) -> list[str]:
    """Return what the text may give as its last value of `gold`'s type: at most one number or list; for words, a
    few.
    """
    if whole_number(gold) is not None:
        return _last_number(text)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return []
    if _items(gold) is not None:
        found = re.findall(r"\[[^\[\]]*\]", text)
        return found[-1:] or _endings(lines[-1])
    members = next((members for members in CLOSED_SETS if gold.lower() in members), None)
    if members is not None:
        mentioned = [word for word in re.findall(r"\w+", text.lower()) if word in members]
        return mentioned[-1:]
    return _endings(lines[-1])


def _last_number(text: str) -> list[str]:
    """The last number of a text, none where "or" joins it to another one ("7 or 8" is no answer)."""
    numbers = find_numbers(text)
    if not numbers:
        return []
    last = numbers[-1]
    if len(numbers) > 1 and numbers[-2].value != last.value:
        between = text[numbers[-2].end : last.start]
        if re.fullmatch(r"[\s,*$`]*(?:or|and/or)\b(?:\s+\w+)?[\s*$`]*", between, re.IGNORECASE):
            return []
    return [text[last.start : last.end]]


def _endings(line: str) -> list[str]:
    """Ways in which a last line names a worded answer: the line, what follows "is" or a colon, what is quoted, its
    end.
    """
    candidates = [line]
    lead = _LEAD_IN.match(line)
    if lead:
        candidates.append(line[lead.end() :])
    quoted = _QUOTED.findall(line)
    if quoted:
        candidates.append("".join(quoted[-1]))
    words = line.split()
    if len(words) > 1 and words[-2].lower() != "or":
        candidates.append(words[-1])
    return candidates


def _equal(given: str, gold: str, prompt: str) -> bool:
    """Whether two answers are the same, by the type of the expected one."""
    if _words(given) == _words(gold):
        return True
    number = whole_number(gold)
    if number is not None:
        return _same_number(given, number)
    items = _items(gold)
    if items is not None:
        return _same_items(_items(given, single=True), items)
    if not re.search(r"[a-zA-Z\\]", gold):
        return _operators(given) == _operators(gold)  # Arithmetic without symbols is never evaluated.
    if not re.search(r"[-+*/^\\()=\d]", gold) or _stands_in(prompt, given):
        return False
    return equivalent(gold, given)


def _same_number(given: str, expected: Number) -> bool:
    """Whether the one number that `given` names is `expected`; "x = 7" and "7 legs" name one, "7 or 8" does not."""
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
    return number.value == expected.value


def _items(text: str, single: bool = False) -> list[str] | None:
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
    items = [item.strip().strip("'\"‘’“”`").strip() for item in _LIST_SEPARATOR.split(inner)]
    return items if bracketed or single or len(items) > 1 else None


def _same_items(given: list[str] | None, expected: list[str]) -> bool:
    if given is None or len(given) != len(expected):
        return False
    return all(_same_item(mine, theirs) for mine, theirs in zip(given, expected, strict=True))


def _same_item(given: str, expected: str) -> bool:
    number, other = whole_number(expected), whole_number(given)
    if number is not None and other is not None:
        return number.value == other.value
    return _words(given) == _words(expected)


def _words(text: str) -> str:
    """Return a text for comparison: case, spacing, quotes around it and a full stop behind it do not matter."""
    words = " ".join(plain_digits(text).casefold().split())
    return words.strip(_QUOTES).rstrip(".。।").strip(_QUOTES)


def _spelling(given: str) -> str:
    number = whole_number(given)
    return _words(given) if number is None else str(number.value)


def _operators(text: str) -> str:
    """Return arithmetic for comparison: spacing and the sign that stands for "times" do not matter."""
    return re.sub(r"\s*[x*·⋅]\s*", "×", _words(text)).replace(" ", "")


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
