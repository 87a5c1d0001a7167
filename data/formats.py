"""What the columns of a row mean: every shape people store, turned into message lists.

Known shapes: messages | prompt/completion | prompt/chosen/rejected | chosen/rejected as whole conversations | prompt
(+ answer). A text prompt is one user message; a system message is put first where the caller gives one. Other
columns (answer, family, ...) stay. A row that does not fit is refused with its number: nothing is dropped or guessed
here.
"""

from collections.abc import Iterable
from typing import Any

from data.errors import UserError

Message = dict[str, str]
Row = dict[str, Any]
OURS = ("messages", "prompt", "completion", "chosen", "rejected")


def to_sft(rows: list[Row], system: str | None = None) -> list[Row]:
    """Return rows {"prompt": messages, "completion": [assistant message]}; of `messages` the last assistant turn is
    the completion.
    """
    _need(rows, "sft", ({"messages"}, {"prompt", "completion"}))
    made = []
    for number, row in enumerate(rows):
        if row.get("messages") is not None:
            prompt, completion = _split(row["messages"], number, "messages")
        else:
            prompt = _messages(row.get("prompt"), "user", number, "prompt")
            completion = _messages(row.get("completion"), "assistant", number, "completion")
        made.append({"prompt": _with_system(prompt, system), "completion": completion})
    return made


def to_preference(rows: list[Row], system: str | None = None) -> list[Row]:
    """Return rows {"prompt": messages, "chosen": [assistant message], "rejected": [assistant message]} and the other
    columns.
    """
    _need(rows, "preference", ({"prompt", "chosen", "rejected"}, {"chosen", "rejected"}))
    made = []
    for number, row in enumerate(rows):
        if row.get("prompt") is not None:
            prompt = _messages(row["prompt"], "user", number, "prompt")
            chosen = _answer(row.get("chosen"), prompt, number, "chosen")
            rejected = _answer(row.get("rejected"), prompt, number, "rejected")
        else:
            prompt, chosen = _split(row.get("chosen"), number, "chosen")
            other, rejected = _split(row.get("rejected"), number, "rejected")
            if prompt != other:
                raise UserError(f"row {number}: chosen and rejected begin with different prompts; give a prompt column")
        made.append({**_rest(row), "prompt": _with_system(prompt, system), "chosen": chosen, "rejected": rejected})
    return made


def to_prompts(rows: list[Row], system: str | None = None) -> list[Row]:
    """Return rows {"prompt": messages} and the other columns; of `messages`, what stands before the last assistant
    turn.
    """
    _need(rows, "prompt", ({"prompt"}, {"messages"}))
    made = []
    for number, row in enumerate(rows):
        if row.get("prompt") is not None:
            prompt = _messages(row["prompt"], "user", number, "prompt")
        else:
            prompt = _messages(row.get("messages"), "user", number, "messages")
            if prompt[-1]["role"] == "assistant":
                prompt = prompt[:-1]
        if not any(message["role"] == "user" for message in prompt):
            raise UserError(f"row {number}: the prompt has no user message")
        made.append({**_rest(row), "prompt": _with_system(prompt, system)})
    return made


def prompt_texts(rows: Iterable[Row]) -> set[str]:
    """Return the question of every row, in any known shape: the last user message of its prompt, whitespace
    normalised.
    """
    texts = set()
    for row in rows:
        conversation = next((row[name] for name in ("prompt", "messages", "chosen") if row.get(name) is not None), None)
        if isinstance(conversation, str):
            texts.add(normalise(conversation))
        elif conversation:
            asked = [message["content"] for message in conversation if message.get("role") == "user"]
            texts |= {normalise(str(asked[-1]))} if asked else set()
    return texts


def normalise(text: str) -> str:
    """Return `text` with every run of whitespace as one space: two prompts that differ in nothing else are the same."""
    return " ".join(text.split())


def _need(rows: list[Row], kind: str, shapes: tuple[set[str], ...]) -> None:
    if not rows:
        raise UserError(f"the {kind} data set is empty; give at least one row")
    found = {column for row in rows for column, value in row.items() if value is not None}
    if not any(shape <= found for shape in shapes):
        needed = " or ".join("+".join(name for name in OURS if name in shape) for shape in shapes)
        raise UserError(
            f"{kind} rows need the columns {needed}; found: {', '.join(sorted(found)) or 'none'}. "
            "Map other names with data.columns, for example columns: {prompt: question}"
        )


def _messages(value: Any, role: str, number: int, column: str) -> list[Message]:
    """Return a text as one message of `role`, or a checked copy of a message list (role and content only)."""
    if isinstance(value, str):
        if not value.strip():
            raise UserError(f"row {number}: {column} is empty")
        return [{"role": role, "content": value}]
    if not isinstance(value, list) or not value:
        found = "missing" if value is None else f"a {type(value).__name__}" if value != [] else "empty"
        raise UserError(f"row {number}: {column} is {found}; it must be a text or a list of messages")
    for message in value:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise UserError(f"row {number}: {column} holds {message!r}; a message is {{role: ..., content: text}}")
        if message.get("role") not in ("system", "user", "assistant", "tool"):
            raise UserError(
                f"row {number}: {column} has the role {message.get('role')!r}; use system, user, assistant or tool"
            )
    return [{"role": message["role"], "content": message["content"]} for message in value]


def _split(value: Any, number: int, column: str) -> tuple[list[Message], list[Message]]:
    """Return (prompt, [last message]) of a conversation that ends with the assistant."""
    if isinstance(value, str):
        raise UserError(f"row {number}: {column} is a text without a prompt column; give prompt, or a list of messages")
    conversation = _messages(value, "assistant", number, column)
    if conversation[-1]["role"] != "assistant" or not any(m["role"] == "user" for m in conversation[:-1]):
        roles = ", ".join(message["role"] for message in conversation)
        raise UserError(
            f"row {number}: {column} has the roles {roles}; it must end with an assistant's answer to a user"
        )
    return conversation[:-1], conversation[-1:]


def _answer(value: Any, prompt: list[Message], number: int, column: str) -> list[Message]:
    """Return the assistant's part of chosen or rejected; some data repeat the prompt in front of it."""
    messages = _messages(value, "assistant", number, column)
    if len(messages) > len(prompt) and messages[: len(prompt)] == prompt:
        messages = messages[len(prompt) :]
    if any(message["role"] != "assistant" for message in messages[:1]):
        raise UserError(f"row {number}: {column} must be the assistant's answer, it begins with {messages[0]['role']}")
    return messages


def _with_system(prompt: list[Message], system: str | None) -> list[Message]:
    """Return `prompt` led by `system`, unless there is none or the row brings its own."""
    if system is None or prompt[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": system}, *prompt]


def _rest(row: Row) -> Row:
    return {name: value for name, value in row.items() if name not in OURS}
