"""Formats of preference pairs: one prompt, a chosen and a rejected answer."""

from typing import Any

from data.formats.alpaca import alpaca_prompt
from data.formats.conversation import (
    answer_to,
    check_prompt,
    messages,
    split,
    text,
    turn,
    turns,
    user_prompt,
    with_system_column,
)
from data.formats.dialogue import row_prompt
from data.formats.format import Example, Format, Message, Row
from data.formats.shape import MESSAGE, MESSAGES, TEXT, TURN, TURNS
from data.formats.tool_use import refuse_tools
from data.row_checks import BadRow

_TEXT_OR_MESSAGES = TEXT | MESSAGES | MESSAGE


def pair(row: Row, prompt: list[Message]) -> Example:
    """The example of a prompt and the row's chosen and rejected, texts or messages."""
    chosen, rejected = (
        answer_to(prompt, messages(row.get(column), "assistant", column), column) for column in ("chosen", "rejected")
    )
    return Example(prompt, chosen=chosen, rejected=rejected)


def _preference(row: Row) -> Example:
    refuse_tools(row)
    return pair(row, row_prompt(row))


def _conversations(row: Row) -> Example:
    refuse_tools(row)
    ends = []
    for column in ("chosen", "rejected"):
        value = row.get(column)
        if isinstance(value, str):
            raise BadRow("wrong_kind", f"{column} is a text without a prompt column; give prompt, or messages")
        ends.append(split(with_system_column(row, messages(value, "assistant", column)), column))
    return shared_prompt(*ends[0], *ends[1])


def shared_prompt(
    prompt: list[Message], chosen: list[Message], other: list[Message], rejected: list[Message]
) -> Example:
    """The example of two conversations that differ in their last answer only."""
    if prompt != other:
        raise BadRow("different_prompts", "chosen and rejected begin with different prompts; give a prompt column")
    return Example(prompt, chosen=chosen, rejected=rejected)


def _question(row: Row) -> Example:
    return pair(row, user_prompt(row, text(row.get("question"), "question"), "question"))


def _sharegpt(row: Row) -> Example:
    refuse_tools(row)
    prompt = check_prompt(with_system_column(row, turns(row.get("conversations"), "conversations")), "conversations")
    chosen, rejected = (answer_to(prompt, [_turn(row.get(name), name)], name) for name in ("chosen", "rejected"))
    return Example(prompt, chosen=chosen, rejected=rejected)


def _turn(value: Any, column: str) -> Message:
    if isinstance(value, str):
        return {"role": "assistant", "content": text(value, column)}
    return turn(value, column)


PREFERENCE = Format(
    "preference",
    {"prompt": TEXT | MESSAGES, "chosen": _TEXT_OR_MESSAGES, "rejected": _TEXT_OR_MESSAGES},
    ("preference", "prompt"),
    _preference,
    "`prompt`, `chosen`, `rejected`: texts or messages; a prompt repeated in front of the answers is cut off",
    "prompt, chosen, rejected",
    uses=("prompt", "chosen", "rejected", "system"),
)
PREFERENCE_CONVERSATIONS = Format(
    "preference-conversations",
    {"chosen": MESSAGES, "rejected": MESSAGES},
    ("preference", "prompt"),
    _conversations,
    "`chosen`, `rejected`: whole conversations as messages that differ in the last answer",
    "what they share is the prompt",
    uses=("chosen", "rejected", "system"),
)
ORCA_DPO = Format(
    "orca-dpo",
    {"question": TEXT, "chosen": TEXT, "rejected": TEXT},
    ("preference", "prompt"),
    _question,
    "`system` (may be blank), `question`, `chosen`, `rejected`",
    "system message and question are the prompt",
    uses=("question", "chosen", "rejected", "system"),
)
ALPACA_PREFERENCE = Format(
    "alpaca-preference",
    {"instruction": TEXT, "chosen": TEXT, "rejected": TEXT},
    ("preference", "prompt"),
    lambda row: pair(row, alpaca_prompt(row)),
    "`instruction`, `input` (may be blank), `chosen`, `rejected`",
    "prompt as alpaca's",
    uses=("instruction", "input", "chosen", "rejected", "system", "history"),
)
SHAREGPT_PREFERENCE = Format(
    "sharegpt-preference",
    {"conversations": TURNS, "chosen": TURN | TEXT, "rejected": TURN | TEXT},
    ("preference", "prompt"),
    _sharegpt,
    "`conversations: [{from, value}, ...]` up to the question, `chosen` and `rejected: {from, value}`",
    "prompt, chosen, rejected",
    uses=("conversations", "chosen", "rejected", "system"),
)
