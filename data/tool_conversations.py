"""Conversations that work a generated question out with the calculator: the call, its answer, the tagged answer.

They teach a model to call before reinforcement learning has any call to reward. What the tool answers here is what it
answers in training.
"""

from collections.abc import Mapping
from typing import Any

from data.calculator import calculator
from data.worked import bare_answer

CALCULATED = ("basic_arithmetic", "chain_sum", "products")
"""Families whose items are one expression, which reasoning-gym keeps beside the question."""

TOOL_CONVERSATIONS_VERSION = 1
"""Raised when any text of these conversations changes: it is part of the identity of the data made with it."""


def tool_conversation(answer: str, metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the messages after the question: the assistant's call, what the tool answers, the assistant's answer."""
    expression = metadata["expression"]
    call = {"type": "function", "function": {"name": "calculator", "arguments": {"expression": expression}}}
    return [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "name": "calculator", "content": calculator(expression)},
        {"role": "assistant", "content": bare_answer(answer)},
    ]
