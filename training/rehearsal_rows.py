"""Made-up rows in place of hub data that is not here: the columns a stage of this kind reads, a few dozen of them."""

from collections.abc import Callable, Mapping
from typing import Any

ROWS = 64
_SUITE_FROM = 1000
"""Suites ask about other numbers than stages do: an item that equals a training prompt would be passed over."""

Row = dict[str, Any]


def made_up_rows(
    kind: str, columns: Mapping[str, str], declared: str | None = None, count: int = ROWS
) -> tuple[list[Row], dict[str, str], str | None]:
    """Return (rows, `columns`, `format`) for a stage kind or "suite": rows in the format that is declared, their
    columns under the names that `columns` (ours -> theirs) gives them.

    Declared columns decide where a kind has several shapes: `chosen` without `prompt` makes whole conversations. Where
    the declared format or columns are of a shape we do not make up, the rows are of our own and nothing is declared.
    """
    first = _SUITE_FROM if kind == "suite" else 0
    make = _FORMATS.get(declared or "", _KINDS[kind])
    known_format = declared if declared in _FORMATS or declared is None else None
    rows = [make(number, columns) for number in range(first, first + count)]
    if not set(columns) <= set(rows[0]):
        return rows, {}, known_format
    return (
        [{columns.get(name, name): value for name, value in row.items()} for row in rows],
        dict(columns),
        known_format,
    )


def _question(number: int) -> str:
    return f"What is {number} plus {number % 7}?"


def _right(number: int) -> str:
    return " ".join(["It is"] * (1 + number % 3)) + f" <answer>{number + number % 7}</answer>"


def _conversation(number: int, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": _question(number)}, {"role": "assistant", "content": answer}]


def _sft(number: int, columns: Mapping[str, str]) -> Row:
    if {"prompt", "completion"} & set(columns):
        return {"prompt": _question(number), "completion": _right(number)}
    return {"messages": _conversation(number, _right(number))}


def _preference(number: int, columns: Mapping[str, str]) -> Row:
    wrong = f"I do not know, perhaps {number}."
    both = {"chosen": _conversation(number, _right(number)), "rejected": _conversation(number, wrong)}
    return both if "chosen" in columns and "prompt" not in columns else {"prompt": _question(number), **both}


def _prompt(number: int, columns: Mapping[str, str]) -> Row:
    return {"prompt": _question(number), "answer": str(number + number % 7)}


def _alpaca(number: int, columns: Mapping[str, str]) -> Row:
    return {"instruction": _question(number), "input": "", "output": _right(number)}


def _gsm8k(number: int, columns: Mapping[str, str]) -> Row:
    return {"question": _question(number), "answer": f"Add the two.\n#### {number + number % 7}"}


def _sharegpt(number: int, columns: Mapping[str, str]) -> Row:
    turns = [("human", _question(number)), ("gpt", _right(number))]
    return {"conversations": [{"from": speaker, "value": text} for speaker, text in turns]}


def _text(number: int, columns: Mapping[str, str]) -> Row:
    return {"text": " ".join(f"{_question(other)} {_right(other)}." for other in range(number, number + 4))}


_KINDS: dict[str, Callable[[int, Mapping[str, str]], Row]] = {
    "pretrain": _text,
    "sft": _sft,
    "dpo": _preference,
    "reward_model": _preference,
    "grpo": _prompt,
    "sample": _prompt,
    "suite": _prompt,
}
_FORMATS: dict[str, Callable[[int, Mapping[str, str]], Row]] = {
    "alpaca": _alpaca,
    "gsm8k": _gsm8k,
    "sharegpt": _sharegpt,
}
