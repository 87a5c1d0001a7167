"""Formats of questions with a known answer: GSM8K, SVAMP, MATH, multiple choice, and any question/answer.

Each leaves the short answer in the column `answer`, which the reward and the suites compare with. Where the data has
a worked solution (GSM8K, MATH) it is the completion for sft.
"""

import re
from collections.abc import Callable
from typing import Any

from data.formats.conversation import text, user_prompt
from data.formats.format import Example, Format, Message, Row
from data.formats.shape import BOXED, CHOICES, GSM8K_ANSWER, NUMBER, TEXT, TEXTS, TRUTH
from data.row_checks import BadRow

_FINAL = re.compile(r"^#### ?(.*)", re.MULTILINE)
_BOX = re.compile(r"\\f?box(?:ed)?\s*\{")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def answer_text(value: Any, column: str) -> str:
    """Return an answer as text: a whole number without ".0", as SVAMP stores it."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, bool | int | float):
        return str(value)
    return text(value, column).strip()


def _asked(row: Row, column: str) -> list[Message]:
    """The prompt of a row whose question stands in this column."""
    return user_prompt(row, text(row.get(column), column), column)


def _with_answer(column: str) -> Callable[[Row], Example]:
    """The parser of rows with a question in this column and an `answer`."""
    return lambda row: Example(_asked(row, column), answer=answer_text(row.get("answer"), "answer"))


def _gsm8k(row: Row) -> Example:
    worked = text(row.get("answer"), "answer")
    finals = [final.strip() for final in _FINAL.findall(worked)]
    if not finals or not finals[-1]:
        raise BadRow("no_answer", "answer has no line `#### ANSWER`")
    return Example(_asked(row, "question"), [{"role": "assistant", "content": worked}], answer=finals[-1])


def _svamp(row: Row) -> Example:
    question = f"{text(row.get('Body'), 'Body').strip()} {text(row.get('Question'), 'Question').strip()}"
    return Example(user_prompt(row, question, "Question"), answer=answer_text(row.get("Answer"), "Answer"))


def _math(row: Row) -> Example:
    solution = text(row.get("solution"), "solution")
    given = row.get("answer")
    short = boxed(solution) if given is None or given == "" else answer_text(given, "answer")
    if not short:
        raise BadRow("no_answer", "solution has no \\boxed{} answer, and there is no answer column")
    return Example(_asked(row, "problem"), [{"role": "assistant", "content": solution}], answer=short)


def boxed(solution: str) -> str | None:
    r"""Return what stands in the last \boxed{}, braces balanced; None if there is none."""
    starts = [match.end() for match in _BOX.finditer(solution)]
    if not starts:
        return None
    depth = 1
    for index in range(starts[-1], len(solution)):
        character = solution[index]
        escaped = solution[index - 1] == "\\"
        depth += (character == "{" and not escaped) - (character == "}" and not escaped)
        if depth == 0:
            return solution[starts[-1] : index].strip()
    return None


def _multiple_choice(options: str, answer: str) -> Any:
    """The parser of a row whose options and answer stand in these columns."""

    def parse(row: Row) -> Example:
        labels, texts = _options(row.get(options), options)
        right = _right(row.get(answer), labels, texts, answer)
        listed = "\n".join(f"{letter}. {option}" for letter, option in zip(_LETTERS, texts, strict=False))
        question = f"{text(row.get('question'), 'question').strip()}\n{listed}"
        return Example(user_prompt(row, question, "question"), answer=_LETTERS[right])

    return parse


def _options(value: Any, column: str) -> tuple[list[str], list[str]]:
    """Return (labels, texts); ARC stores them as {text: [...], label: [...]}."""
    texts = value.get("text") if isinstance(value, dict) else value
    if not isinstance(texts, list) or not 2 <= len(texts) <= len(_LETTERS):
        raise BadRow("wrong_kind", f"{column} must be a list of 2 to {len(_LETTERS)} texts")
    texts = [text(option, f"{column}[{index}]").strip() for index, option in enumerate(texts)]
    labels = value.get("label") if isinstance(value, dict) else list(_LETTERS[: len(texts)])
    if not isinstance(labels, list) or len(labels) != len(texts):
        raise BadRow("wrong_kind", f"{column}: text and label must be lists of one length")
    return [str(label) for label in labels], texts


def _right(value: Any, labels: list[str], texts: list[str], column: str) -> int:
    """Return the index of the right option: stored as an index (from 0), a label or the option's text."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(texts):
        return value
    if isinstance(value, str):
        matches = {names.index(value.strip()) for names in (labels, texts) if value.strip() in names}
        if len(matches) == 1:
            return matches.pop()
    raise BadRow("no_answer", f"{column} is {value!r}; it must be an index from 0, one label or one option's text")


_CHOICE_BECOMES = 'prompt: the question, then a line "A. ..." per option; answer: the letter of the right one'
QUESTION_ANSWER = Format(
    "question-answer",
    {"question": TEXT, "answer": TEXT | NUMBER | TRUTH},
    ("prompt",),
    _with_answer("question"),
    "`question`, `answer`: a text or a number",
    "prompt and answer",
    uses=("question", "answer", "system"),
)
GSM8K = Format(
    "gsm8k",
    {"question": TEXT, "answer": GSM8K_ANSWER},
    ("sft", "prompt"),
    _gsm8k,
    "`question`, `answer` with a last line `#### 42`",
    "answer: what follows ####; for sft the whole solution is the completion",
    uses=("question", "answer", "system"),
    over=("question-answer",),
)
SVAMP = Format(
    "svamp",
    {"Body": TEXT, "Question": TEXT, "Answer": TEXT | NUMBER},
    ("prompt",),
    _svamp,
    "`Body`, `Question`, `Answer`",
    "prompt: body, space, question; answer: 51.0 becomes 51",
    uses=("Body", "Question", "Answer", "system"),
)
MATH = Format(
    "math",
    {"problem": TEXT, "solution": BOXED},
    ("sft", "prompt"),
    _math,
    "`problem`, `solution` with `\\boxed{}`; `answer` if any",
    "answer: that column, else the last box; for sft the solution is the completion",
    uses=("problem", "solution", "answer", "system"),
    over=("problem-answer",),
)
PROBLEM_ANSWER = Format(
    "problem-answer",
    {"problem": TEXT, "answer": TEXT | NUMBER | TRUTH},
    ("prompt",),
    _with_answer("problem"),
    "`problem`, `answer`: a text or a number",
    "prompt and answer",
    uses=("problem", "answer", "system"),
)
MULTIPLE_CHOICE = tuple(
    Format(
        f"multiple-choice-{options}-{answer}",
        {"question": TEXT, options: TEXTS | CHOICES, answer: TEXT | NUMBER},
        ("prompt",),
        _multiple_choice(options, answer),
        f"`question`, `{options}`: texts or {{text, label}}, `{answer}`: index from 0, label or text",
        _CHOICE_BECOMES,
        uses=("question", options, answer, "system"),
    )
    for options in ("options", "choices")
    for answer in ("answer", "answerKey")
)
