"""The pipeline file as read: plain Python, and for every key and item the place a message should point at."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from training.config.errors import Problem

KeyPath = tuple[str | int, ...]

_LONGEST_VALUE_SHOWN = 60
_NOTHING = object()


@dataclass
class Document:
    """A YAML tree with the line of each key path; an override's place is its own text."""

    path: str
    tree: Any = None
    lines: dict[KeyPath, int] = field(default_factory=dict)
    overridden: dict[KeyPath, str] = field(default_factory=dict)

    def problem(self, at: KeyPath, text: str, show_value: bool = True) -> Problem:
        """Make the problem of the key at a path: `key.path = value: text`, placed at its line or its override."""
        line, where = self.place(at)
        name = self.name(at)
        if show_value and name and self.holds(at) and not isinstance(self.value(at), dict | list):
            name = f"{name} = {shown(self.value(at))}"
        return Problem(line, where, f"{name}: {text}" if name else text)

    def place(self, at: KeyPath) -> tuple[int, str]:
        """Return the line and the text of the place of a key path, or of the nearest block around it."""
        for length in range(len(at), 0, -1):
            if at[:length] in self.overridden:
                return 0, f'override "{self.overridden[at[:length]]}"'
            if at[:length] in self.lines:
                line = self.lines[at[:length]]
                return line, f"{self.path}:{line}"
        line = self.lines.get((), 1)
        return line, f"{self.path}:{line}"

    def override(self, at: KeyPath, override: str) -> None:
        """Note that an override gave the value at a path: nothing beneath it is the file's any more."""
        for places in (self.lines, self.overridden):
            for path in [path for path in places if path[: len(at)] == at]:
                del places[path]
        self.overridden[at] = override

    def name(self, at: KeyPath) -> str:
        """Return the key path as messages write it: stages by their name, other items by their index."""
        text = ""
        for depth, part in enumerate(at):
            if isinstance(part, str):
                text += f".{part}" if text else part
            elif depth == 1 and at[0] == "stages" and isinstance(self._stage_name(part), str):
                text += f".{self._stage_name(part)}"
            else:
                text += f"[{part}]"
        return text

    def holds(self, at: KeyPath) -> bool:
        """Tell whether the tree has something at a path."""
        return self.value(at, _NOTHING) is not _NOTHING

    def value(self, at: KeyPath, absent: Any = None) -> Any:
        """Return what the tree has at a path, or `absent`."""
        node = self.tree
        for part in at:
            items = dict(enumerate(node)) if isinstance(node, list) else node
            if not isinstance(items, dict) or part not in items:
                return absent
            node = items[part]
        return node

    def _stage_name(self, index: int) -> Any:
        return self.value(("stages", index, "name"))


def shown(value: Any) -> str:
    """Return a value as a message shows it: text in quotes, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST_VALUE_SHOWN else text[: _LONGEST_VALUE_SHOWN - 3] + "..."
