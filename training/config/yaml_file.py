"""Reading YAML 1.2 into plain Python with the line of every key and item.

`1e-4` is a number, `no` is text, dates stay text. Refused with their lines: syntax errors, a key written twice, keys
that are not text, tags such as `!!python/object`, and an anchor that contains itself. Merge keys (`<<: *name`) work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from training.config.document import Document, KeyPath, shown
from training.config.errors import ConfigError, Problem

_TAG = "tag:yaml.org,2002:"
_TEXT_TAGS = {_TAG + "str", _TAG + "timestamp"}
_MERGE = _TAG + "merge"
_PLAIN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float")}


def read_yaml(path: Path) -> Document:
    """Return a YAML file as a Document; raises ConfigError with every mistake of the YAML itself."""
    document = Document(path=str(path))
    yaml = _safe_yaml()
    try:
        root = yaml.compose(_file_text(path))
    except MarkedYAMLError as error:
        raise ConfigError([_syntax_problem(path, error)]) from None
    except ReaderError as error:
        raise ConfigError([Problem(0, str(path), f"is not YAML text: {error.reason}")]) from None
    reader = _Reader(document, yaml)
    document.tree = None if root is None else reader.plain(root, ())
    if reader.problems:
        raise ConfigError(reader.problems)
    return document


def read_value(text: str) -> Any:
    """Return one YAML value, as an override gives it; raises ValueError where it is not YAML."""
    document = Document(path="")
    yaml = _safe_yaml()
    try:
        root = yaml.compose(text)
    except YAMLError as error:
        raise ValueError(f"{shown(text)} is not a YAML value: {getattr(error, 'problem', error)}") from None
    reader = _Reader(document, yaml)
    value = None if root is None else reader.plain(root, ())
    if reader.problems:
        raise ValueError(reader.problems[0].text)
    return value


def _safe_yaml() -> YAML:
    return YAML(typ="safe", pure=True)


def _file_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        message = "there is no such file"
    except IsADirectoryError:
        message = "is a folder; a pipeline is a YAML file"
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 text (byte {error.start})"
    except PermissionError:
        message = "cannot be read: permission denied"
    raise ConfigError([Problem(0, str(path), message)])


def _syntax_problem(path: Path, error: MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = 1 if mark is None else mark.line + 1
    said = ", ".join(str(part) for part in (error.context, error.problem) if part)
    fix = "; indent with spaces" if "'\\t'" in said else ""
    return Problem(line, f"{path}:{line}", f"not valid YAML: {said}{fix}")


class _Reader:
    """Turns composed YAML nodes into plain values, noting lines and collecting problems."""

    def __init__(self, document: Document, yaml: YAML) -> None:
        self.document = document
        self.constructor = yaml.constructor
        self.problems: list[Problem] = []
        self._open: set[int] = set()

    def plain(self, node: Node, at: KeyPath) -> Any:
        """Return the plain value of a node that stands at a key path."""
        self.document.lines.setdefault(at, node.start_mark.line + 1)
        if isinstance(node, ScalarNode):
            return self._scalar(node, at)
        if id(node) in self._open:
            self._report(node, at, "an anchor contains itself")
            return None
        self._open.add(id(node))
        value: Any = None
        if isinstance(node, SequenceNode):
            value = [self.plain(item, (*at, index)) for index, item in enumerate(node.value)]
        elif isinstance(node, MappingNode):
            value = self._mapping(node, at)
        if str(node.tag) not in (_TAG + "map", _TAG + "seq"):
            self._report(node, at, f"the tag {node.tag} is not accepted; write plain YAML")
        self._open.remove(id(node))
        return value

    def _scalar(self, node: ScalarNode, at: KeyPath) -> Any:
        tag = str(node.tag)
        if tag in _TEXT_TAGS:
            return str(node.value)
        if tag not in _PLAIN_TAGS:
            self._report(node, at, f"the tag {tag} is not accepted; write plain YAML")
            return None
        return self.constructor.construct_object(node)

    def _mapping(self, node: MappingNode, at: KeyPath) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if str(key_node.tag) == _MERGE:
                merged |= self._merged(value_node, at)
        for key_node, value_node in node.value:
            if str(key_node.tag) == _MERGE:
                continue
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else None
            if key is None or str(key_node.tag) not in _TEXT_TAGS:
                self._report(key_node, at, "a key must be text; write it in quotes")
            elif key in own:
                first = self.document.lines[(*at, key)]
                self._report(key_node, (*at, key), f"this key already stands on line {first}; keep one of them")
            else:
                self.document.lines[(*at, key)] = key_node.start_mark.line + 1
                own[key] = self.plain(value_node, (*at, key))
        return merged | own

    def _merged(self, node: Node, at: KeyPath) -> dict[str, Any]:
        """The keys that `<<: *name` or `<<: [*first, *second]` brings in; the first of a list wins."""
        sources = reversed(node.value) if isinstance(node, SequenceNode) else [node]
        merged: dict[str, Any] = {}
        for source in sources:
            if isinstance(source, MappingNode):
                merged |= self._mapping(source, at)
            else:
                self._report(source, at, "<< merges mappings only")
        return merged

    def _report(self, node: Node, at: KeyPath, text: str) -> None:
        line = node.start_mark.line + 1
        name = self.document.name(at)
        self.problems.append(Problem(line, f"{self.document.path}:{line}", f"{name}: {text}" if name else text))
