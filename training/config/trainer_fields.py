"""The fields of trl's SFTConfig, DPOConfig and GRPOConfig, read from the installed sources without importing them.

Importing GRPOConfig takes seconds because it pulls in torch; parsing the class bodies takes a tenth of one. A config
class is followed through its bases, as far as they are imported from trl or are transformers' TrainingArguments.
"""

from __future__ import annotations

import ast
import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from training.config.trainer_classes import CLASSES, Refused

__all__ = ["CLASSES", "CONFIG_CLASSES", "FieldInfo", "Refused", "default", "fields", "unaccepted"]

CONFIG_CLASSES = {"sft": "SFTConfig", "dpo": "DPOConfig", "grpo": "GRPOConfig"}
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


@dataclass(frozen=True)
class FieldInfo:
    """One dataclass field: its annotation and default as written in the source, and the class that states them."""

    type_text: str
    default_text: str
    owner_class: str

    @cached_property
    def accepted_kinds(self) -> frozenset[str]:
        """Which of bool, int, float, str, list, dict and None the annotation admits; names it defines are left out."""
        return frozenset(_kinds(ast.parse(self.type_text, mode="eval").body))

    @property
    def accepted_words(self) -> str:
        """The accepted kinds of value, in words."""
        return " or ".join(words for kind, words in _WORDS.items() if kind in self.accepted_kinds)


@cache
def fields(kind: str) -> dict[str, FieldInfo]:
    """Return every field of the TRL config of a training kind (sft, dpo, grpo); a subclass's own wording wins."""
    return _class_fields(_package_dir("trl") / "trainer" / f"{kind}_config.py", CONFIG_CLASSES[kind])


def default(kind: str, name: str) -> Any:
    """Return a field's default where the source writes it as a literal; raises ValueError where it does not."""
    return ast.literal_eval(fields(kind)[name].default_text)


def unaccepted(kind: str, name: str, value: Any) -> str | None:
    """Return what a field accepts, in words, when the value's kind is not among it; None when it is."""
    info = fields(kind)[name]
    found = _KIND_OF_VALUE.get(type(value))
    admitted = info.accepted_kinds
    if found in admitted or (found == "int" and "float" in admitted):
        return None
    return info.accepted_words


@cache
def _class_fields(path: Path, class_name: str) -> dict[str, FieldInfo]:
    """Fields of a class in a source file, those of its bases first."""
    tree = _parse(path)
    definition = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == class_name)
    inherited: dict[str, FieldInfo] = {}
    for base in reversed(definition.bases):
        inherited.update(_class_fields(_source_of(ast.unparse(base), path), ast.unparse(base)))
    return inherited | _own_fields(definition)


def _own_fields(definition: ast.ClassDef) -> dict[str, FieldInfo]:
    own = {}
    for node in definition.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            own[node.target.id] = FieldInfo(ast.unparse(node.annotation), _default_text(node.value), definition.name)
    return own


def _default_text(value: ast.expr | None) -> str:
    """The default as written, looking inside dataclasses.field(default=..., default_factory=...)."""
    if isinstance(value, ast.Call) and ast.unparse(value.func) == "field":
        arguments = {keyword.arg: keyword.value for keyword in value.keywords}
        value = arguments.get("default", arguments.get("default_factory"))
        if isinstance(value, ast.Lambda):
            value = value.body
    return "" if value is None else ast.unparse(value)


def _source_of(class_name: str, importer: Path) -> Path:
    """The file that defines a class which another source file imports."""
    if class_name == "TrainingArguments":
        return _package_dir("transformers") / "training_args.py"
    for node in _parse(importer).body:
        if isinstance(node, ast.ImportFrom) and any(name.name == class_name for name in node.names):
            folder = importer.parents[node.level - 1] if node.level else _package_dir("trl").parent
            return folder.joinpath(*(node.module or "").split(".")).with_suffix(".py")
    return importer


@cache
def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _package_dir(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return Path(spec.origin).parent


def _kinds(annotation: ast.expr) -> set[str]:
    """The kinds of value an annotation admits: `int | str | None` -> {int, str, None}; `list[str]` -> {list}."""
    if isinstance(annotation, ast.BinOp):
        return _kinds(annotation.left) | _kinds(annotation.right)
    if isinstance(annotation, ast.Subscript):
        if ast.unparse(annotation.value) == "Literal":
            literals = annotation.slice.elts if isinstance(annotation.slice, ast.Tuple) else [annotation.slice]
            return {_KIND_OF_VALUE[type(ast.literal_eval(literal))] for literal in literals}
        return _kinds(annotation.value)
    if isinstance(annotation, ast.Constant):
        return {"None"} if annotation.value is None else set()
    name = ast.unparse(annotation)
    return {name} if name in _WORDS else set()
