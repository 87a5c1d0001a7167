"""Reward `answer`: is the final answer right? The one lenient extractor by which every model is judged.

Order: the last complete <answer> tag; else the last \\boxed{}; else (not under `strict`) the last value of the expected
answer's type in the text. Then equality by type (number, percentage, quantity with its unit, interval, list, word), and
for expressions with symbols math-verify.

Deliberate choices against answers that only look right:
1. An explicit answer must be one value: "7 or 8" in a tag is wrong, and so is a last value that "or" joins to another.
2. Arithmetic is never evaluated: "3 + 4" does not answer 7, or repeating the question would earn the reward.
3. Where the expected answer is a fraction, a fraction given must be in lowest terms, for the same reason.
4. math-verify is not asked about an expression that stands in the prompt.
5. Thinking does not count, nor does the prompt repeated.
6. A unit may be left out or converted, not be another one; brackets of an interval must be the right ones.
"""

import re
from typing import Any

from training.rewards.comparison import equal, items, words
from training.rewards.extract import boxed, plain_latex, tagged, unwrap, visible_text
from training.rewards.number_text import find_numbers, plain_digits, whole_number

# Answers from a closed set: the last member that the text mentions is the answer.
CLOSED_SETS = (
    frozenset({"yes", "no"}),
    frozenset({"true", "false"}),
    frozenset({"monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"}),
)
_LEAD_IN = re.compile(r".*(?::|=|->|→|\b(?:is|are|be)\b)\s*(?=\S)", re.IGNORECASE | re.DOTALL)
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
    return any(equal(given, gold, prompt) for given in _given(completion, gold, prompt, strict))


def extract(completion: str, expected: str, prompt: str = "") -> str | None:
    """Return the completion's final answer in one spelling per value, as votes are counted; None if there is none.

    `expected` gives the type of answer to look for. Of several readings of a worded answer the right one is taken.
    """
    gold = unwrap(expected)
    readings = _given(completion, gold, prompt, strict=False)
    if not readings:
        return None
    right = [given for given in readings if equal(given, gold, prompt)]
    return words(gold) if right else _spelling(readings[-1])


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
    if items(gold) is not None:
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
    parts = line.split()
    if len(parts) > 1 and parts[-2].lower() != "or":
        candidates.append(parts[-1])
    return candidates


def _spelling(given: str) -> str:
    number = whole_number(given)
    return words(given) if number is None else str(number.value)
