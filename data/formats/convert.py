"""Rows of any format as the rows a stage works on, each accounted for."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from data.accounting import Account, Rows
from data.errors import UserError
from data.formats.format import Example, Format, Message, Row
from data.formats.recognise import candidates, declared, recognise
from data.formats.shape import shape
from data.formats.table import FORMATS
from data.formats.tool_use import check_tools
from data.row_checks import BadRow

OURS = ("messages", "prompt", "completion", "chosen", "rejected")


def sft_row(example: Example, row: Row, form: Format) -> Row:
    """{"prompt": messages, "completion": [assistant message]}; with calls of tools, what they answered between the
    assistant's messages, and in `tools` what the row declares.
    """
    if example.completion is None:
        raise BadRow("no_completion", f"{form.name}: the last turn is the user's; there is no answer to train on")
    tools = {} if example.tools is None else {"tools": example.tools}
    return {"prompt": example.prompt, "completion": example.completion, **tools}


def preference_row(example: Example, row: Row, form: Format) -> Row:
    """{"prompt": messages, "chosen": [assistant message], "rejected": ...} and the other columns."""
    return {**_rest(row, form), "prompt": example.prompt, "chosen": example.chosen, "rejected": example.rejected}


def prompt_row(example: Example, row: Row, form: Format) -> Row:
    """{"prompt": messages}, the `answer` if the format has one, and the other columns."""
    answer = {} if example.answer is None else {"answer": example.answer}
    return {**_rest(row, form), "prompt": example.prompt, **answer}


def text_row(example: Example, row: Row, form: Format) -> Row:
    """{"text": the document}."""
    return {"text": example.text}


PURPOSES: dict[str, Callable[[Example, Row, Format], Row]] = {
    "text": text_row,
    "sft": sft_row,
    "preference": preference_row,
    "prompt": prompt_row,
}


def convert(
    loaded: Rows, purpose: str, system: str | None = None, form: str | None = None, tools: str = "refused"
) -> Rows:
    """Return the rows in the shape of a purpose (text, sft, preference, prompt), led by `system` where they bring none.

    `form` declares the format; None recognises it. `tools` says whether rows may call tools: `refused`, those of the
    `stage`, or those that `rows` declare. Bad rows go to the account, under its policy. Raises UserError
    for what `data.formats.recognise` refuses, and when there are no rows.
    """
    account = loaded.account
    if not loaded.rows:
        raise UserError(f"the {purpose} data set is empty; give at least one row")
    found = _format(loaded, purpose, form)
    kept: list[Row] = []
    numbers: list[int] = []
    for number, row in zip(loaded.numbers, loaded.rows, strict=True):
        try:
            example = found.parse(row)
            check_tools(example, tools)
            made = PURPOSES[purpose](replace(example, prompt=_with_system(example.prompt, system)), row, found)
        except BadRow as error:
            account.bad(number, error.reason, error.detail)
            continue
        if purpose == "sft" and example.surplus is not None:
            account.drop(number, example.surplus, f"{found.name}: not to be imitated")
            continue
        kept.append(made)
        numbers.append(number)
    account.check_share()
    account.check_kept(len(kept))
    return replace(loaded, rows=kept, numbers=numbers, source={**loaded.source, "format": found.name})


def to_sft(rows: list[Row], system: str | None = None) -> list[Row]:
    """Return rows {"prompt": messages, "completion": [assistant message]} of rows in any format; the first bad row is
    a UserError.
    """
    return convert(_unnamed(rows), "sft", system).rows


def to_preference(rows: list[Row], system: str | None = None) -> list[Row]:
    """Return rows {"prompt", "chosen", "rejected"}, message lists, and the other columns."""
    return convert(_unnamed(rows), "preference", system).rows


def to_prompts(rows: list[Row], system: str | None = None) -> list[Row]:
    """Return rows {"prompt": messages} and the other columns; of a conversation, what stands before the last answer."""
    return convert(_unnamed(rows), "prompt", system).rows


def prompt_texts(rows: Iterable[Row]) -> set[str]:
    """Return the question of every row, in any format: the last user message of its prompt, whitespace normalised.

    A row of no format asks nothing.
    """
    known: dict[Any, frozenset[str]] = {}
    texts = set()
    for row in rows:
        found = shape(row)
        if found not in known:
            known[found] = candidates(found, "prompt")
        for name in known[found]:
            try:
                asked = [m["content"] for m in FORMATS[name].parse(row).prompt if m["role"] == "user"]
            except BadRow:
                continue
            texts.add(normalise(asked[-1]))
    return texts


def normalise(text: str) -> str:
    """Return `text` with every run of whitespace as one space: two prompts that differ in nothing else are the same."""
    return " ".join(text.split())


def _format(loaded: Rows, purpose: str, form: str | None) -> Format:
    if form is not None:
        return declared(form, purpose)
    return recognise(loaded.rows, purpose, lambda index: loaded.account.origin.where(loaded.numbers[index]))


def _unnamed(rows: list[Row]) -> Rows:
    account = Account("rows")
    return Rows(rows, {}, len(rows), account, [account.origin.add() for _ in rows])


def _with_system(prompt: list[Message], system: str | None) -> list[Message]:
    """Return `prompt` led by `system`, unless there is none or the row brings its own."""
    if system is None or not prompt or prompt[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": system}, *prompt]


def _rest(row: Row, form: Format) -> Row:
    return {name: value for name, value in row.items() if name not in OURS and name not in form.uses}
