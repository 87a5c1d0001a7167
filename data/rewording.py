"""The same question in other words: numbers, names and the answer stay, the wording around them changes.

A model that recalls the text of a trained row loses it here, one that understood the question does not. Families of
which we know the text are written anew; any other question is put into a frame of other words, and `reworded` says
which of the two was done.
"""

import re
from typing import Literal

REWORDING_VERSION = 1
"""Raised when the same question gets other words: part of the identity of what is measured."""

Kind = Literal["rewritten", "framed"]

FRAME = "A friend sends you this exercise and asks for the solution.\n\n{question}\n\nWhat do you reply?"

_ARITHMETIC = (r"State the final answer to the following arithmetic problem: (?P<sum>.+) =", "How much is {sum}?")
_EQUATION = "It holds that {equation}. Which number is {variable}?"
REWRITTEN: dict[str, tuple[tuple[str, str], ...]] = {
    "chain_sum": (_ARITHMETIC,),
    "decimal_chain_sum": (_ARITHMETIC,),
    "products": (
        (
            r"Solve the following multiplication: (?P<product>.+)\. Give only the result as your final answer\.",
            "Multiply: {product}. State the result alone.",
        ),
    ),
    "gcd": (
        (
            r"Find the Greatest Common Divisor \(GCD\) of these numbers: (?P<numbers>.+)\. "
            r"Give only the GCD as your final answer\.",
            "Which is the largest whole number that divides each of {numbers} without a remainder?",
        ),
    ),
    "lcm": (
        (
            r"Find the Least Common Multiple \(LCM\) of these numbers: (?P<numbers>.+)",
            "Which is the smallest positive whole number that each of {numbers} divides without a remainder?",
        ),
    ),
    "leg_counting": (
        (
            r"Your task is to count how many legs there are in total when given a list of animals\.\s+"
            r"Now, how many legs are there in total if you have (?P<animals>.+)\?",
            "On a farm live {animals}. Count all their legs together.",
        ),
    ),
    "letter_counting": (
        (
            r'How many times does the letter "(?P<letter>.)" appear in the text: "(?P<text>.*)"\?',
            'Read this text: "{text}". Count how often the letter "{letter}" stands in it.',
        ),
    ),
    "spell_backward": (
        (
            r"Spell this word backward \(example: sun -> nus\): (?P<word>.+)",
            'Write the letters of "{word}" from the last to the first, as nus for sun.',
        ),
    ),
    "simple_equations": (
        (r"Find the value of (?P<variable>\w+) in the equation: (?P<equation>.+)", _EQUATION),
        (r"Solve for (?P<variable>\w+): (?P<equation>.+)", _EQUATION),
        (r"Determine the value of (?P<variable>\w+) that satisfies: (?P<equation>.+)", _EQUATION),
    ),
    "basic_arithmetic": (
        (r"(?:What is|Solve|Compute|Evaluate:) (?P<sum>.+?)[?.]", "How much is {sum}?"),
        (r"Calculate (?P<sum>.+?)\.", "How much is {sum}?"),
        (r"(?P<sum>[-+*/() 0-9]+?) =", "How much is {sum}?"),
    ),
    "count_bits": (
        (
            r"How many 1 bits are there in the binary representation of the number (?P<number>\d+)\?",
            "Write {number} in base two. How many of its digits are 1?",
        ),
    ),
    "count_primes": (
        (
            r"Count how many prime numbers there are between (?P<start>\d+) and (?P<end>\d+) \(inclusive\) \?",
            "How many primes are at least {start} and at most {end}?",
        ),
    ),
}
"""Family -> (whole text of a question as a pattern, the same question in other words), tried in order."""


def reworded(family: str | None, question: str) -> tuple[str, Kind]:
    """Return `question` in other words, and whether it was rewritten or put into a frame; the answer is the same."""
    for pattern, words in REWRITTEN.get(family or "", ()):
        found = re.fullmatch(pattern, question.strip(), re.DOTALL)
        if found is not None:
            return words.format(**found.groupdict()), "rewritten"
    return FRAME.format(question=question.strip()), "framed"
