"""The form of a golden case: one completion, what a reward must return for it, and why."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Case:
    """`expected` for `completion`, given the row's columns and the reward's parameters; `why` names what it guards."""

    completion: str
    expected: float | None
    why: str
    prompt: str = "The question."
    columns: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
