"""What a field accepts, in words, from its JSON schema: one wording for messages and for docs/config.md."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from training.config.document import KeyPath
from training.config.pipeline import Pipeline

_WORDS = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


@cache
def raw_schema() -> dict[str, Any]:
    """Return pydantic's JSON schema of the pipeline."""
    return Pipeline.model_json_schema()


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """Follow `$ref`, keeping what stands beside it."""
    if "$ref" not in schema:
        return schema
    target = raw_schema()["$defs"][schema["$ref"].rsplit("/", 1)[-1]]
    return target | {key: value for key, value in schema.items() if key != "$ref"}


def block_at(at: KeyPath, kind_of_stage: str | None) -> dict[str, Any] | None:
    """Return the schema of what stands at a key path, or None where the schema has no such key.

    `kind_of_stage` is the `kind` of the stage on the path, which decides the stage's fields.
    """
    schema: dict[str, Any] = raw_schema()
    for part in at:
        found = _step(_mapping_or_list(resolved(schema), kind_of_stage), part)
        if found is None:
            return None
        schema = found
    return _mapping_or_list(resolved(schema), kind_of_stage)


def _step(schema: dict[str, Any], part: str | int) -> dict[str, Any] | None:
    if isinstance(part, int):
        return schema.get("items")
    if part in schema.get("properties", {}):
        return schema["properties"][part]
    return values_of_any_key(schema)


def values_of_any_key(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema of the values of a mapping whose keys are the user's own names, else None."""
    by_pattern = list(schema.get("patternProperties", {}).values())
    extra = schema.get("additionalProperties")
    return by_pattern[0] if by_pattern else extra if isinstance(extra, dict) else None


def _mapping_or_list(schema: dict[str, Any], kind_of_stage: str | None) -> dict[str, Any]:
    """See through `X | null` to X, and through the union of stages to the stage's kind."""
    if "discriminator" in schema and kind_of_stage in schema["discriminator"]["mapping"]:
        return resolved({"$ref": schema["discriminator"]["mapping"][kind_of_stage]})
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if len(choices) == 1:
        return resolved(choices[0])
    return schema


def accepted(schema: dict[str, Any]) -> str:
    """Return in words what a value of this schema may be."""
    schema = resolved(schema)
    for union in ("anyOf", "oneOf"):
        if union in schema:
            return " or ".join(dict.fromkeys(accepted(choice) for choice in schema[union]))
    if "x-accepted" in schema:
        return str(schema["x-accepted"])
    if "const" in schema:
        return _plain(schema["const"])
    if "enum" in schema:
        return " or ".join(_plain(value) for value in schema["enum"])
    if schema.get("type") == "array":
        return "a list of " + accepted(schema.get("items", {"x-accepted": "anything"}))
    if schema.get("type") == "object":
        return "a mapping"
    return _WORDS.get(schema.get("type", ""), "anything") + _bounds(schema)


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _bounds(schema: dict[str, Any]) -> str:
    signs = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
    limits = [f"{sign} {schema[key]:g}" for key, sign in signs.items() if key in schema]
    if schema.get("minLength"):
        limits.append("not empty")
    return " " + " and ".join(limits) if limits else ""
