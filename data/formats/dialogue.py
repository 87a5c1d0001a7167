"""Formats of dialogues: messages, prompt/completion, a prompt alone, KTO, ShareGPT."""

from data.formats.conversation import (
    answer_to,
    check_prompt,
    messages,
    split,
    turns,
    with_system_column,
)
from data.formats.format import Example, Format, Message, Row
from data.formats.shape import MAYBE_TRUTH, MESSAGES, TEXT, TRUTH, TURNS
from data.formats.tool_use import declared_tools
from data.row_checks import BadRow

_TEXT_OR_MESSAGES = TEXT | MESSAGES


def whole_conversation(row: Row, conversation: list[Message], column: str) -> Example:
    """The last assistant turn is the completion, what stands before it the prompt; without one all is prompt."""
    tools = declared_tools(row)
    conversation = with_system_column(row, conversation)
    if conversation[-1]["role"] == "assistant":
        prompt, completion = split(conversation, column)
        return Example(prompt, completion, tools=tools)
    return Example(check_prompt(conversation, column), tools=tools)


def row_prompt(row: Row, column: str = "prompt") -> list[Message]:
    """The prompt of a row: a text or messages, led by the row's system text."""
    return check_prompt(with_system_column(row, messages(row.get(column), "user", column)), column)


def _messages(row: Row) -> Example:
    value = row.get("messages")
    if isinstance(value, str):
        raise BadRow("wrong_kind", "messages is a text without a prompt column; give prompt, or a list of messages")
    return whole_conversation(row, messages(value, "user", "messages"), "messages")


def _prompt(row: Row) -> Example:
    return Example(row_prompt(row), tools=declared_tools(row))


def _prompt_completion(row: Row) -> Example:
    prompt = row_prompt(row)
    answer = answer_to(prompt, messages(row.get("completion"), "assistant", "completion"), "completion")
    return Example(prompt, answer, tools=declared_tools(row))


_DESIRABLE = (True, "true", "1")
_UNDESIRABLE = (False, "false", "0")


def _kto(row: Row) -> Example:
    label = row.get("label")
    key = label.strip().lower() if isinstance(label, str) else label
    if key not in (*_DESIRABLE, *_UNDESIRABLE):
        raise BadRow("wrong_kind", f"label is {label!r}; KTO's label is true (desirable) or false")
    example = _prompt_completion(row)
    if key in _UNDESIRABLE:
        example.surplus = "undesirable"
    return example


def _sharegpt(row: Row) -> Example:
    return whole_conversation(row, turns(row.get("conversations"), "conversations"), "conversations")


MESSAGES_FORMAT = Format(
    "messages",
    {"messages": MESSAGES},
    ("sft", "prompt"),
    _messages,
    "`messages: [{role, content}, ...]`, roles system, user, assistant, tool",
    "the last assistant turn is the completion, what stands before it the prompt",
    uses=("messages", "system"),
)
PROMPT_COMPLETION = Format(
    "prompt-completion",
    {"prompt": _TEXT_OR_MESSAGES, "completion": _TEXT_OR_MESSAGES},
    ("sft", "prompt"),
    _prompt_completion,
    "`prompt`, `completion`: texts or messages",
    "prompt and completion",
    uses=("prompt", "completion", "system"),
)
PROMPT = Format(
    "prompt",
    {"prompt": _TEXT_OR_MESSAGES},
    ("prompt",),
    _prompt,
    "`prompt`: a text or messages; `answer` and other columns go to the rewards",
    "the prompt",
    uses=("prompt", "system"),
)
KTO = Format(
    "kto",
    {"prompt": _TEXT_OR_MESSAGES, "completion": _TEXT_OR_MESSAGES, "label": TRUTH | MAYBE_TRUTH},
    ("sft", "prompt"),
    _kto,
    "`prompt`, `completion`, `label: true/false`",
    "for sft the desirable rows; the undesirable ones are dropped and counted. No pairs: dpo refuses them",
    uses=("prompt", "completion", "label", "system"),
    doubtful={"label": MAYBE_TRUTH},
)
SHAREGPT = Format(
    "sharegpt",
    {"conversations": TURNS},
    ("sft", "prompt"),
    _sharegpt,
    "`conversations: [{from: human/gpt/system, value}, ...]`, `system` if any",
    "as messages",
    uses=("conversations", "system"),
)
SHAREGPT_MESSAGES = Format(
    "conversations",
    {"conversations": MESSAGES},
    ("sft", "prompt"),
    lambda row: whole_conversation(row, messages(row.get("conversations"), "user", "conversations"), "conversations"),
    "`conversations: [{role, content}, ...]`",
    "as messages",
    uses=("conversations", "system"),
)
