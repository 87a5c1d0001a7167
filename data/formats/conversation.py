"""Conversations: texts, message lists and from/value turns as checked message lists; the rules all formats share.

A conversation is an optional system message, then user and assistant in turn (tool results may follow the assistant).
Two turns of one side in a row, empty turns and unknown roles are refused by name: merging or guessing would train on
what nobody wrote.
"""

from typing import Any

from data.formats.format import Message
from data.formats.tool_use import TOOL_SENDERS, calls, refuse_tools, tool_calls
from data.row_checks import BadRow

ROLES = ("system", "user", "assistant", "tool")
SENDERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bard": "assistant",
    "bing": "assistant",
    "system": "system",
}
"""ShareGPT's `from` -> role."""


def text(value: Any, column: str) -> str:
    """Return a text that is not blank."""
    if value is None:
        raise BadRow("missing", f"{column} is missing")
    if not isinstance(value, str):
        raise BadRow("wrong_kind", f"{column} is {_a(value)}; it must be a text")
    if not value.strip():
        raise BadRow("empty", f"{column} is empty")
    return value


def messages(value: Any, role: str, column: str) -> list[Message]:
    """Return a text as one message of `role`, or a checked copy of a message list: role and content, and where tools
    are called, the calls and the names of the tools that answer.
    """
    if isinstance(value, str):
        return [{"role": role, "content": text(value, column)}]
    if isinstance(value, dict) and "role" in value:
        value = [value]
    if value is None or value == []:
        raise BadRow("missing" if value is None else "empty", f"{column} is {'missing' if value is None else 'empty'}")
    if not isinstance(value, list):
        raise BadRow("wrong_kind", f"{column} is {_a(value)}; it must be a text or a list of messages")
    made = [_message(message, f"{column}[{index}]") for index, message in enumerate(value)]
    if not any("tool_calls" in message for message in made):
        return [{"role": message["role"], "content": message["content"]} for message in made]
    return made


def _message(message: Any, at: str) -> Message:
    if not isinstance(message, dict) or "role" not in message:
        raise BadRow("wrong_kind", f"{at} is {_shown(message)}; a message is {{role: ..., content: text}}")
    if message.get("function_call"):
        raise tool_calls(f"{at} has function_call, an older form of tool_calls")
    role = message["role"]
    if role not in ROLES:
        raise BadRow("wrong_role", f"{at} has the role {_shown(role)}; use {', '.join(ROLES)}")
    if message.get("tool_calls"):
        said = "" if message.get("content") in (None, "") else _content(message["content"], at)
        return {"role": role, "content": said, "tool_calls": calls(message["tool_calls"], role, at)}
    named = {"name": message["name"]} if role == "tool" and isinstance(message.get("name"), str) else {}
    return {"role": role, "content": _content(message.get("content"), at), **named}


def _content(value: Any, at: str) -> str:
    if not isinstance(value, str):
        raise BadRow("wrong_kind", f"{at}: the content is {'null' if value is None else _a(value)}; it must be a text")
    if not value.strip():
        raise BadRow("empty", f"{at}: the content is empty")
    return value


def turns(value: Any, column: str) -> list[Message]:
    """Return ShareGPT's list of {from, value} as messages."""
    if not isinstance(value, list) or not value:
        found = "missing" if value is None else "empty" if value == [] else _a(value)
        raise BadRow("wrong_kind", f"{column} is {found}; it must be a list of {{from: ..., value: text}}")
    return [turn(item, f"{column}[{index}]") for index, item in enumerate(value)]


def turn(value: Any, at: str) -> Message:
    """Return one {from, value} as a message."""
    if not isinstance(value, dict) or "from" not in value:
        raise BadRow("wrong_kind", f"{at} is {_shown(value)}; a turn is {{from: ..., value: text}}")
    sender = value["from"]
    if sender in TOOL_SENDERS:
        raise tool_calls(f"{at} is from {sender!r}")
    if not isinstance(sender, str) or sender not in SENDERS:
        raise BadRow("wrong_role", f"{at} is from {_shown(sender)}; use {', '.join(SENDERS)}")
    return {"role": SENDERS[sender], "content": _content(value.get("value"), at)}


def with_system_column(row: dict[str, Any], prompt: list[Message]) -> list[Message]:
    """Return `prompt` led by the row's `system` text, unless that is blank or the prompt brings its own."""
    system = row.get("system")
    if system is None or (isinstance(system, str) and not system.strip()) or prompt[0]["role"] == "system":
        return prompt
    return [{"role": "system", "content": text(system, "system")}, *prompt]


def user_prompt(row: dict[str, Any], question: str, column: str) -> list[Message]:
    """Return one user message, led by the row's system text; a row that declares tools is refused."""
    refuse_tools(row)
    return check_prompt(with_system_column(row, [{"role": "user", "content": question}]), column)


def check_turns(conversation: list[Message], column: str) -> None:
    """Raise BadRow unless user and assistant take turns, after at most one system message."""
    rest = conversation[1:] if conversation[0]["role"] == "system" else conversation
    offset = len(conversation) - len(rest)
    before = ""
    for index, message in enumerate(rest, start=offset):
        role = message["role"]
        if role == "system":
            raise BadRow("wrong_order", f"{column}[{index}] is a system message; only the first message may be one")
        if role == before and role != "tool":
            raise BadRow(
                "consecutive_turns",
                f"{column}[{index - 1}] and [{index}] are both the {role}'s; join them, or give the turn between",
            )
        allowed = {"": ("user",), "user": ("assistant",), "assistant": ("user", "tool"), "tool": ("assistant", "tool")}
        if role not in allowed[before]:
            what = f"follows the {before}'s" if before else "comes first"
            raise BadRow("wrong_order", f"{column}[{index}] is the {role}'s and {what}; a user speaks first")
        before = role


def split(conversation: list[Message], column: str) -> tuple[list[Message], list[Message]]:
    """Return (prompt, completion) of a conversation that ends with the assistant: its last message, or where it called
    tools on the way, all that follows the last user message.
    """
    check_turns(conversation, column)
    if conversation[-1]["role"] != "assistant" or not any(m["role"] == "user" for m in conversation[:-1]):
        roles = ", ".join(message["role"] for message in conversation)
        raise BadRow("wrong_order", f"{column} has the roles {roles}; it must end with an assistant's answer to a user")
    asked = max(index for index, message in enumerate(conversation) if message["role"] == "user") + 1
    begins = asked if any("tool_calls" in message for message in conversation[asked:]) else len(conversation) - 1
    return conversation[:begins], conversation[begins:]


def check_prompt(prompt: list[Message], column: str) -> list[Message]:
    """Return `prompt` if its turns are in order and it ends where an assistant would answer."""
    check_turns(prompt, column)
    if not any(message["role"] == "user" for message in prompt):
        raise BadRow("wrong_order", f"{column}: the prompt has no user message")
    if prompt[-1]["role"] == "assistant":
        raise BadRow("wrong_order", f"{column}: the prompt ends with the assistant's turn; there is nothing to answer")
    return prompt


def answer_to(prompt: list[Message], answer: list[Message], column: str) -> list[Message]:
    """Return the assistant's part of a completion, chosen or rejected; some data repeat the prompt in front of it."""
    if len(answer) > len(prompt) and answer[: len(prompt)] == prompt:
        answer = answer[len(prompt) :]
    if answer[0]["role"] != "assistant":
        raise BadRow("wrong_order", f"{column} must be the assistant's answer, it begins with {answer[0]['role']}")
    if answer[-1]["role"] != "assistant":
        raise BadRow("wrong_order", f"{column} must end with the assistant's answer, not with {answer[-1]['role']}")
    check_turns([*prompt, *answer], column)
    return answer


def _a(value: Any) -> str:
    names = {"dict": "an object", "list": "a list", "bool": "a truth value", "int": "a number", "float": "a number"}
    return names.get(type(value).__name__, "a text" if isinstance(value, str) else f"a {type(value).__name__}")


def _shown(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
