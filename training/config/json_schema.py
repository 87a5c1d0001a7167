"""The JSON Schema of the pipeline file for editors: pydantic's, with the short forms and TRL's fields written in."""

from __future__ import annotations

import copy
from typing import Any

from training.config.data_cleaning import SUITES
from training.config.health import DETECTOR_BLOCKS
from training.config.schema_words import raw_schema
from training.config.stages import STAGE_CLASSES
from training.config.trainer_fields import CLASSES, CONFIG_CLASSES, FieldInfo, Refused, fields

_JSON_TYPES = {
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "str": "string",
    "list": "array",
    "dict": "object",
    "None": "null",
}


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of a pipeline file, trainer fields listed by kind."""
    schema = copy.deepcopy(raw_schema())
    blocks = schema["$defs"]
    for stage_class in STAGE_CLASSES.values():
        blocks[stage_class.__name__]["properties"].pop("parent")
    for kind in CONFIG_CLASSES:
        blocks[STAGE_CLASSES[kind].__name__]["properties"]["trainer"] |= _trainer_schema(kind)
    stage_string = {"type": "string", "pattern": "^stage:", "description": "stage:NAME, an earlier sample stage."}
    for name in ("DataBlock", "MixPart"):
        asked = blocks[name]["properties"]["decontaminate"]
        asked["anyOf"] = [{"const": SUITES, "description": "The suites, by the default rule."}, *asked["anyOf"]]
        blocks[name] = {"anyOf": [stage_string, blocks[name]]}
    scorer = {"type": "string", "description": "stage:NAME, a folder or org/name@commit."}
    blocks["RewardModelScore"] = {"anyOf": [scorer, blocks["RewardModelScore"]]}
    blocks["RewardSpec"]["additionalProperties"] = True
    blocks["RewardSpec"] = {"anyOf": [{"type": "string", "description": "A reward's name."}, blocks["RewardSpec"]]}
    for block in DETECTOR_BLOCKS.values():
        policy = {key: value for key, value in blocks[block.__name__]["properties"]["policy"].items() if key == "enum"}
        blocks[block.__name__] = {"anyOf": [policy | {"type": "string"}, blocks[block.__name__]]}
    families = blocks["Generator"]["properties"]["families"]
    families["additionalProperties"] = {"anyOf": [families["additionalProperties"], {"type": "null"}]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "posttrain pipeline"}


def _trainer_schema(kind: str) -> dict[str, Any]:
    accepted = {name: info for name, info in fields(kind).items() if not isinstance(CLASSES.get(name), Refused)}
    return {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _field_schema(name, info) for name, info in sorted(accepted.items())},
    }


def _field_schema(name: str, info: FieldInfo) -> dict[str, Any]:
    description = f"{info.owner_class}: {info.type_text} = {info.default_text} ({CLASSES.get(name)})"
    return {"type": sorted(_JSON_TYPES[kind] for kind in info.accepted_kinds), "description": description}
