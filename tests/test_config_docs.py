"""docs/config.md and the JSON Schema say what the schema says."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from training.config import json_schema
from training.config.docs import render
from training.config.schema_words import raw_schema
from training.config.stages import STAGE_CLASSES
from training.config.trainer_classes import CLASSES, Refused
from training.config.trainer_fields import CONFIG_CLASSES, fields

DOCS = Path(__file__).parent.parent / "docs" / "config.md"


def properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for name, each in schema.get("properties", {}).items() if isinstance(schema.get("properties"), dict) else []:
            yield f"{path}.{name}", each
        for key, value in schema.items():
            yield from properties(value, f"{path}/{key}")
    elif isinstance(schema, list):
        for index, value in enumerate(schema):
            yield from properties(value, f"{path}/{index}")


def test_docs_are_up_to_date() -> None:
    assert DOCS.read_text(encoding="utf-8") == render(), "run: python -m training.config.docs > docs/config.md"


def test_every_key_has_a_description_and_stands_in_the_docs() -> None:
    text = render()
    for path, schema in properties(raw_schema()):
        assert schema.get("description"), path
        name = path.rsplit(".", 1)[-1]
        if name != "parent":
            assert f"| {name} |" in text or f"| **{name}** |" in text, path


def test_every_trainer_field_stands_in_the_docs() -> None:
    text = render()
    assert [name for name in CLASSES if f"`{name}`" not in text] == []


@pytest.mark.parametrize("kind", CONFIG_CLASSES)
def test_the_json_schema_lists_the_accepted_trainer_fields_of_each_kind(kind: str) -> None:
    definitions = json_schema()["$defs"]
    stage = STAGE_CLASSES[kind].__name__
    listed = definitions[stage]["properties"]["trainer"]["properties"]
    assert set(listed) == {name for name in fields(kind) if not isinstance(CLASSES[name], Refused)}


def test_the_json_schema_has_the_short_forms_and_not_what_is_filled_in() -> None:
    definitions = json_schema()["$defs"]
    assert {choice["type"] for choice in definitions["DataBlock"]["anyOf"]} == {"string", "object"}
    assert {choice["type"] for choice in definitions["RewardSpec"]["anyOf"]} == {"string", "object"}
    assert "parent" not in definitions["SftStage"]["properties"]
    assert "from" in definitions["SftStage"]["properties"]


def test_making_the_json_schema_leaves_the_schema_of_messages_untouched() -> None:
    json_schema()
    assert "parent" in raw_schema()["$defs"]["SftStage"]["properties"]
