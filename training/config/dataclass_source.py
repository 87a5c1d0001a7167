"""Dataclass fields read from source text, so that a schema is known without importing what takes seconds to import."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

_KIND_OF_VALUE = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict", type(None): "None"}
_WORDS = {
    "bool": "true or false",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
    "None": "null",
}
_SAME_KIND = {"List": "list", "Dict": "dict", "tuple": "list", "Tuple": "list", "Sequence": "list"}


@dataclass(frozen=True)
class FieldInfo:
    """One dataclass field: its annotation and default as written in the source, and the class that states them."""

    type_text: str
    default_text: str
    owner_class: str

    @cached_property
    def accepted_kinds(self) -> frozenset[str]:
        """Which of bool, int, float, str, list, dict and None the annotation admits; other types are left out."""
        return frozenset(_kinds(ast.parse(self.type_text, mode="eval").body))

    @property
    def accepted_words(self) -> str:
        """The accepted kinds of value, in words."""
        return " or ".join(words for kind, words in _WORDS.items() if kind in self.accepted_kinds)

    def admits(self, value: Any) -> bool:
        """Tell whether a value is of an accepted kind; a whole number is a number, true and false are not."""
        found = _KIND_OF_VALUE.get(type(value))
        return found in self.accepted_kinds or (found == "int" and "float" in self.accepted_kinds)


def own_fields(definition: ast.ClassDef) -> dict[str, FieldInfo]:
    """Return the fields that a class body states itself, in order."""
    own = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own[node.target.id] = FieldInfo(ast.unparse(node.annotation), _default_text(node.value), definition.name)
    return own


@cache
def parse(path: Path) -> ast.Module:
    """Return the syntax tree of a source file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def _default_text(value: ast.expr | None) -> str:
    """The default as written, looking inside dataclasses.field(default=..., default_factory=...)."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        arguments = {keyword.arg: keyword.value for keyword in value.keywords}
        value = arguments.get("default", arguments.get("default_factory"))
        if isinstance(value, ast.Lambda):
            value = value.body
    return "" if value is None else ast.unparse(value)


def _kinds(annotation: ast.expr) -> set[str]:
    """The kinds of value an annotation admits: `int | str | None` -> {int, str, None}; `list[str]` -> {list}."""
    if isinstance(annotation, ast.BinOp):
        return _kinds(annotation.left) | _kinds(annotation.right)
    if isinstance(annotation, ast.Subscript):
        return _subscript_kinds(ast.unparse(annotation.value), annotation.slice)
    if isinstance(annotation, ast.Constant):
        return {"None"} if annotation.value is None else set()
    name = ast.unparse(annotation)
    name = _SAME_KIND.get(name, name)
    return {name} if name in _WORDS else set()


def _subscript_kinds(generic: str, inside: ast.expr) -> set[str]:
    parts = inside.elts if isinstance(inside, ast.Tuple) else [inside]
    if generic == "Literal":
        return {_KIND_OF_VALUE[type(ast.literal_eval(part))] for part in parts}
    if generic == "Optional":
        return _kinds(inside) | {"None"}
    if generic == "Union":
        return set().union(*(_kinds(part) for part in parts))
    return _kinds(ast.Name(generic))
