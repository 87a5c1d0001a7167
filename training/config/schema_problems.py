"""pydantic's findings as problems with a line, a key path, the value found and what is accepted."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from training.config.document import Document, KeyPath
from training.config.errors import Problem
from training.config.schema_words import accepted, block_at, values_of_any_key
from training.config.stages import STAGE_CLASSES
from training.config.suggest import nearest
from training.config.unknown_keys import unknown_key

_NO_KIND = ("union_tag_not_found", "union_tag_invalid")


def schema_problems(document: Document, error: ValidationError) -> list[Problem]:
    """Return one problem per key that pydantic refuses; the members of a union that failed are told as one."""
    problems: dict[KeyPath, Problem] = {}
    for details in error.errors(include_url=False):
        at = _key_path(document, details)
        if at not in problems:
            problems[at] = _problem(document, at, details)
    return list(problems.values())


def _problem(document: Document, at: KeyPath, details: ErrorDetails) -> Problem:
    kind = _kind_of_stage(document, at)
    if details["type"] == "extra_forbidden":
        return document.problem(at, unknown_key(document, at, kind), show_value=False)
    if details["type"] == "missing":
        return document.problem(at, f"is missing; it is {_meaning(at, kind)}", show_value=False)
    no_mapping = at[:1] == ("stages",) and len(at) == 2 and not isinstance(document.value(at), dict)
    if details["type"] in _NO_KIND or no_mapping:
        return _problem_of_kind(document, at)
    if details["type"] == "value_error":
        return document.problem(at, str(details["ctx"]["error"]))
    if "[key]" in details["loc"]:
        return document.problem(at, f"the name must be {_accepted_key(at, kind)}", show_value=False)
    return document.problem(at, _must_be(document, at, details, kind))


def _must_be(document: Document, at: KeyPath, details: ErrorDetails, kind: str | None) -> str:
    schema = block_at(at[:-1], kind) or {}
    wanted = _own_schema(schema, at[-1]) if at else {"x-accepted": "a mapping with name, model and stages"}
    if details["type"] == "too_short":
        return "must not be empty"
    hint = ""
    value = document.value(at)
    if isinstance(value, str) and _options(wanted):
        hint = nearest(value, _options(wanted))
    elif accepted(wanted).startswith("text") and isinstance(value, int | float):
        hint = "; write it in quotes"
    return f"must be {accepted(wanted)}{hint}"


def _problem_of_kind(document: Document, at: KeyPath) -> Problem:
    """A stage without a kind, with an unknown one, or that is no mapping at all."""
    kinds = ", ".join(STAGE_CLASSES)
    stage = document.value(at)
    if not isinstance(stage, dict):
        return document.problem(at, f"must be a mapping with name and kind ({kinds})")
    if "kind" in stage:
        wrong = stage["kind"]
        return document.problem((*at, "kind"), f"must be one of {kinds}{nearest(wrong, STAGE_CLASSES)}")
    wrong_word = next((f"; write kind in place of {word}" for word in ("type", "method") if word in stage), "")
    return document.problem((*at, "kind"), f"is missing; it is one of {kinds}{wrong_word}")


def _key_path(document: Document, details: ErrorDetails) -> KeyPath:
    """Return the YAML path of an error: pydantic's location without union tags and names of validators."""
    location = details["loc"]
    if location[:1] == ("stages",) and len(location) > 2 and location[2] in STAGE_CLASSES:
        location = location[:2] + location[3:]
    at: KeyPath = ()
    for depth, part in enumerate(location):
        last = depth == len(location) - 1
        if not document.holds((*at, part)) and not (last and details["type"] == "missing"):
            break
        at = (*at, part)
    return at


def _kind_of_stage(document: Document, at: KeyPath) -> str | None:
    kind = document.value((*at[:2], "kind")) if at[:1] == ("stages",) else None
    return kind if isinstance(kind, str) else None


def _own_schema(block: dict[str, Any], part: str | int) -> dict[str, Any]:
    if isinstance(part, int):
        return block.get("items", {})
    return block.get("properties", {}).get(part) or values_of_any_key(block) or {}


def _options(schema: dict[str, Any]) -> list[str]:
    """The words an enumeration accepts."""
    choices = [schema, *schema.get("anyOf", [])]
    words = [word for choice in choices for word in [*choice.get("enum", []), choice.get("const")]]
    return [word for word in words if isinstance(word, str)]


def _accepted_key(at: KeyPath, kind: str | None) -> str:
    names = (block_at(at[:-1], kind) or {}).get("propertyNames", {})
    return accepted(names)


def _meaning(at: KeyPath, kind: str | None) -> str:
    schema = _own_schema(block_at(at[:-1], kind) or {}, at[-1])
    description = str(schema.get("description", accepted(schema))).rstrip(".")
    return f"{description[0].lower()}{description[1:]} ({accepted(schema)})"
