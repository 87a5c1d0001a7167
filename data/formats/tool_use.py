"""Calls of tools in conversations: what an assistant asked for, in one form, and the tools that a row declares.

A call becomes {"type": "function", "function": {"name", "arguments": an object}}, as chat templates have it; OpenAI's
arguments as JSON text are read, and ids are left out.
"""

import json
from typing import Any

from data.formats.format import Example, Message
from data.row_checks import BadRow

TOOL_SENDERS = ("function_call", "tool_call", "observation", "function_response", "tool")
_COLUMNS = ("tools", "functions")
_NOTHING: tuple[Any, ...] = (None, [], {}, "", "[]", "null")


def tool_calls(found: str) -> BadRow:
    """Return the bad row for tools where none are asked for: their text depends on the template, and most drop it."""
    return BadRow(
        "tool_calls",
        f"{found}; tool-call rows are not trained on unless an sft stage says `tools:` (docs/tools.md): most chat "
        "templates leave the calls out",
    )


def refuse_tools(row: dict[str, Any]) -> None:
    """Raise BadRow if the row declares tools."""
    for column in _COLUMNS:
        if row.get(column) not in _NOTHING:
            raise tool_calls(f"{column} declares tools")


def declared_tools(row: dict[str, Any]) -> str | None:
    """Return the tools in a row's column `tools` (a list, or one as JSON text) as JSON text; None if there are none."""
    if row.get("functions") not in _NOTHING:
        raise BadRow("tool_calls", "functions declares tools in an older form; give them in a column `tools`")
    value = row.get("tools")
    if value in _NOTHING:
        return None
    schemas = _json(value, "tools") if isinstance(value, str) else value
    if not isinstance(schemas, list) or not all(isinstance(each, dict) for each in schemas):
        raise BadRow("wrong_kind", "tools must be a list of JSON schemas, {type: function, function: {name, ...}}")
    return json.dumps([_schema(each, f"tools[{index}]") for index, each in enumerate(schemas)], ensure_ascii=False)


def _schema(value: dict[str, Any], at: str) -> dict[str, Any]:
    function = value.get("function", value)
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow("wrong_kind", f"{at} names no function; a tool is {{type: function, function: {{name, ...}}}}")
    return {"type": "function", "function": function}


def calls(value: Any, role: str, at: str) -> list[dict[str, Any]]:
    """Return the calls of a message in one form."""
    if role != "assistant":
        raise BadRow("wrong_role", f"{at}: a message of the role {role} has tool_calls; the assistant calls tools")
    if not isinstance(value, list):
        raise BadRow("wrong_kind", f"{at}.tool_calls must be a list of {{function: {{name, arguments}}}}")
    return [_call(each, f"{at}.tool_calls[{index}]") for index, each in enumerate(value)]


def _call(value: Any, at: str) -> dict[str, Any]:
    function = value.get("function", value) if isinstance(value, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        raise BadRow("wrong_kind", f"{at} names no function; a call is {{function: {{name, arguments}}}}")
    arguments = function.get("arguments", {})
    arguments = _json(arguments, f"{at}.arguments") if isinstance(arguments, str) else arguments
    if not isinstance(arguments, dict):
        raise BadRow("wrong_kind", f"{at}.arguments must be an object of the arguments by name")
    return {"type": "function", "function": {"name": function["name"], "arguments": arguments}}


def _json(text: str, at: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise BadRow("wrong_kind", f"{at} is a text that is no JSON: {error}") from None


def check_tools(example: Example, allowed: str) -> None:
    """Raise BadRow for tools where a stage has none (`refused`), or has its own (`stage`) and the row brings others."""
    said: list[Message] = []
    for part in (example.prompt, example.completion, example.chosen, example.rejected):
        said += part or []
    called = any("tool_calls" in message for message in said)
    if allowed == "refused" and (called or example.tools is not None):
        raise tool_calls("tools declares tools" if example.tools is not None else "a message has tool_calls")
    if allowed == "stage" and example.tools is not None:
        raise BadRow(
            "tool_calls", "tools declares tools of the row's own, and the stage names its own; say tools: rows"
        )
    if allowed == "rows" and called and example.tools is None:
        raise BadRow("tool_calls", "a message has tool_calls, and the row declares no tools in a column `tools`")
