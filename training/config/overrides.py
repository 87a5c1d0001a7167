"""Overrides: `key.path=value` on the command line, applied to the file's tree before it is checked.

A path goes through mappings by key and through lists by index or by the item's `name`
(`stages.grpo.trainer.max_steps=3`). The value is YAML. A key that the schema does not know is reported by the schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from training.config.document import Document, KeyPath
from training.config.errors import Problem
from training.config.suggest import nearest
from training.config.yaml_file import read_value


def apply_overrides(document: Document, overrides: Sequence[str]) -> list[Problem]:
    """Write each override into the document's tree; returns the problems of those that name nothing."""
    problems = []
    for override in overrides:
        try:
            _apply(document, override)
        except ValueError as error:
            problems.append(Problem(0, f'override "{override}"', str(error)))
    return problems


def _apply(document: Document, override: str) -> None:
    dotted, equals, text = override.partition("=")
    parts = dotted.strip().split(".")
    if not equals or not all(parts):
        raise ValueError("write key.path=value, for instance stages.sft.trainer.max_steps=10")
    value = read_value(text)
    at: KeyPath = ()
    container = document.tree
    for part in parts[:-1]:
        key = _key(document, container, at, part)
        if isinstance(container, dict) and container.get(key) is None:
            container[key] = {}
            document.overridden[(*at, key)] = override
        container, at = container[key], (*at, key)
    key = _key(document, container, at, parts[-1])
    container[key] = value
    document.override((*at, key), override)


def _key(document: Document, container: Any, at: KeyPath, part: str) -> Any:
    """Return the key or index that one part of the path means in a container; ValueError where it means nothing."""
    if isinstance(container, dict):
        return part
    here = document.name(at)
    if not isinstance(container, list):
        raise ValueError(f"{here} is not a mapping, so it has no {part}")
    if part.isdigit() and int(part) < len(container):
        return int(part)
    names = [item.get("name") if isinstance(item, dict) else item for item in container]
    if part in names:
        return names.index(part)
    known = [name for name in names if isinstance(name, str)]
    if at == ("stages",) and part.startswith("evaluate-"):
        raise ValueError(f"{part} is made by the evaluate block; override evaluate.KEY, which holds for all models")
    raise ValueError(f"{here} has no {part}{nearest(part, known)}; it has {', '.join(known) or 'no names'}")
