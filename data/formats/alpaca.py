"""Alpaca: an instruction, an input it may work on, and the output; also with chosen and rejected in its place."""

from data.formats.conversation import check_prompt, text, with_system_column
from data.formats.format import Example, Format, Message, Row
from data.formats.shape import TEXT
from data.formats.tool_use import refuse_tools
from data.row_checks import BadRow

_PROMPT = ("instruction", "input", "system", "history")


def alpaca_prompt(row: Row) -> list[Message]:
    """Instruction and input with a blank line between them, after the earlier turns of `history` ([[user, assistant],
    ...], as LLaMA-Factory writes it).
    """
    refuse_tools(row)
    question = text(row.get("instruction"), "instruction")
    more = row.get("input")
    if more is not None and not isinstance(more, str):
        raise BadRow("wrong_kind", f"input is a {type(more).__name__}; it must be a text")
    if more and more.strip():
        question = f"{question}\n\n{more}"
    earlier = [message for index, pair in enumerate(row.get("history") or []) for message in _turns(pair, index)]
    return check_prompt(with_system_column(row, [*earlier, {"role": "user", "content": question}]), "instruction")


def _turns(pair: object, index: int) -> list[Message]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise BadRow("wrong_kind", f"history[{index}] must be a pair [user's text, assistant's text]")
    user, assistant = pair
    return [
        {"role": "user", "content": text(user, f"history[{index}][0]")},
        {"role": "assistant", "content": text(assistant, f"history[{index}][1]")},
    ]


def _alpaca(row: Row) -> Example:
    completion = text(row.get("output"), "output")
    return Example(alpaca_prompt(row), [{"role": "assistant", "content": completion}])


ALPACA = Format(
    "alpaca",
    {"instruction": TEXT, "output": TEXT},
    ("sft", "prompt"),
    _alpaca,
    "`instruction`, `input` (may be blank), `output`; `system`, `history` if any",
    "prompt: instruction, blank line, input; completion: output",
    uses=(*_PROMPT, "output"),
)
