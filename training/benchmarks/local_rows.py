"""Rows of one's own files as the columns of lm-eval's six leaderboard tasks.

A file may have the task's official columns, or question/options/answer (answer an index from 0, a letter, or the
option's text), or any through `columns`. Only official columns in the file itself make an official score: everything
else is the same task on rows that somebody put together anew.
"""

import string
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from data.errors import UserError
from data.normalise import normalised

Row = dict[str, Any]

OFFICIAL: dict[str, frozenset[str]] = {
    "arc_challenge": frozenset({"question", "choices", "answerKey"}),
    "hellaswag": frozenset({"activity_label", "ctx_a", "ctx_b", "endings", "label"}),
    "mmlu": frozenset({"question", "subject", "choices", "answer"}),
    "truthfulqa_mc2": frozenset({"question", "mc2_targets"}),
    "winogrande": frozenset({"sentence", "option1", "option2", "answer"}),
    "gsm8k": frozenset({"question", "answer"}),
}
"""Task -> the columns that its data set on the hub has and lm-eval reads."""

GENERIC = frozenset({"question", "options", "answer"})
ASKED: dict[str, tuple[str, ...]] = {
    "arc_challenge": ("question", "choices"),
    "hellaswag": ("query", "ctx_a", "ctx_b"),
    "mmlu": ("question", "choices"),
    "truthfulqa_mc2": ("question",),
    "winogrande": ("sentence",),
    "gsm8k": ("question",),
}
"""Task -> the columns that make its question; of any other task, the whole row."""


def task_rows(task: str, rows: Sequence[Row], columns: Mapping[str, str], where: str) -> tuple[list[Row], bool]:
    """Return (rows in the columns that the task's prompt reads, whether they are official).

    Rows of a task that is none of the six stay as they are. Raises UserError for columns that say nothing to the task.
    """
    renamed = [_renamed(row, columns, where) for row in rows]
    if not renamed:
        raise UserError(f"{where} has no rows")
    if task not in OFFICIAL:
        return renamed, not columns
    found = set.intersection(*(set(row) for row in renamed))
    if found >= OFFICIAL[task]:
        return [_UNIFORM.get(task, _same)(row) for row in renamed], not columns
    if found >= GENERIC and task in _FROM_GENERIC:
        return [_from_generic(task, row, f"{where}: row {number}") for number, row in enumerate(renamed)], False
    needed = ", ".join(sorted(OFFICIAL[task]))
    other = " or question, options, answer" if task in _FROM_GENERIC else ""
    raise UserError(
        f"{where} has the columns {', '.join(sorted(found))}; {task} reads {needed}{other}; map them with columns"
    )


def not_asked(task: str, examples: Sequence[Row], test: Sequence[Row]) -> list[Row]:
    """Return the examples whose question is none of `test`; letters' case, spaces and the options' order are nothing.

    An example that is asked as well would show the model the answer.
    """
    asked = {_question(task, row) for row in test}
    return [row for row in examples if _question(task, row) not in asked]


def question_text(task: str, row: Row) -> str:
    """The question of a row as it is written, without its options; of a task that is none of the six, every text."""
    if task not in ASKED:
        return "\n".join(value for _, value in sorted(row.items()) if isinstance(value, str))
    asked = [row[column] for column in ASKED[task] if column != "choices" and column in row]
    return str(asked[0]) if "query" in row else " ".join(map(str, asked))  # the query is made of the other two


def _question(task: str, row: Row) -> str:
    found = [row[column] for column in ASKED.get(task, tuple(sorted(row))) if column in row]
    return "\n".join(" / ".join(sorted(map(normalised, _texts(value)))) for value in found)


def _texts(value: Any) -> list[str]:
    """A column's texts: the options of a question, whatever they are called in, or the value itself."""
    if isinstance(value, Mapping) and "text" in value:
        value = value["text"]
    return [str(each) for each in value] if isinstance(value, (list, tuple)) else [str(value)]


def _same(row: Row) -> Row:
    return row


def _renamed(row: Row, columns: Mapping[str, str], where: str) -> Row:
    for ours, theirs in columns.items():
        if theirs not in row:
            raise UserError(f"{where}: columns.{ours} names {theirs}, and a row has {', '.join(sorted(row))}")
    taken = set(columns.values())
    kept = {key: value for key, value in row.items() if key not in taken}
    return kept | {ours: row[theirs] for ours, theirs in columns.items()}


def _targets(row: Row) -> Row:
    """TruthfulQA's own file has {text: 1 or 0}, its data set on the hub {choices, labels}."""
    targets = row["mc2_targets"]
    if "choices" not in targets:
        targets = {"choices": list(targets), "labels": list(targets.values())}
    return {"question": row["question"], "mc2_targets": targets}


_UNIFORM: dict[str, Callable[[Row], Row]] = {"truthfulqa_mc2": _targets}


def _from_generic(task: str, row: Row, where: str) -> Row:
    options, place = list(row["options"]), _place(row["answer"], list(row["options"]), where)
    return _FROM_GENERIC[task](str(row["question"]), options, place, where)


def _place(answer: Any, options: list[Any], where: str) -> int:
    """The index of the right option, from an index, a letter or the option itself."""
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    if answer in options:
        return options.index(answer)
    letters = string.ascii_uppercase[: len(options)]
    if isinstance(answer, str) and len(answer) == 1 and answer.upper() in letters:
        return letters.index(answer.upper())
    raise UserError(f"{where}: the answer {answer!r} is none of {len(options)} options, nor their index or letter")


def _arc(question: str, options: list[Any], place: int, where: str) -> Row:
    labels = list(string.ascii_uppercase[: len(options)])
    return {"question": question, "choices": {"text": options, "label": labels}, "answerKey": labels[place]}


def _hellaswag(question: str, options: list[Any], place: int, where: str) -> Row:
    return {"query": question, "choices": options, "label": place}


def _mmlu(question: str, options: list[Any], place: int, where: str) -> Row:
    if len(options) != 4:
        raise UserError(f"{where}: {len(options)} options; mmlu has 4")
    return {"question": question, "choices": options, "answer": place}


def _truthfulqa(question: str, options: list[Any], place: int, where: str) -> Row:
    labels = [int(number == place) for number in range(len(options))]
    return {"question": question, "mc2_targets": {"choices": options, "labels": labels}}


def _winogrande(question: str, options: list[Any], place: int, where: str) -> Row:
    if len(options) != 2 or "_" not in question:
        raise UserError(f"{where}: winogrande needs a question with _ and 2 options")
    return {"sentence": question, "option1": options[0], "option2": options[1], "answer": str(place + 1)}


_FROM_GENERIC: dict[str, Callable[[str, list[Any], int, str], Row]] = {
    "arc_challenge": _arc,
    "hellaswag": _hellaswag,
    "mmlu": _mmlu,
    "truthfulqa_mc2": _truthfulqa,
    "winogrande": _winogrande,
}
