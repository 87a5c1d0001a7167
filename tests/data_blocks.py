"""Stand-ins for the config's data blocks and suites: objects with the same fields."""

from types import SimpleNamespace
from typing import Any


def generator(families: dict[str, dict[str, Any]], rows: int | None = None, **changes: Any) -> SimpleNamespace:
    fields = {"name": "reasoning_gym", "families": families, "rows": rows, "seed": None, "completions": None}
    return SimpleNamespace(**{**fields, **changes})


def block(**changes: Any) -> SimpleNamespace:
    sources = ("generator", "path", "hub", "stage", "callable")
    fields: dict[str, Any] = dict.fromkeys(
        (*sources, "subset", "version", "format", "license", "limit", "max_prompt_tokens")
    )
    given = {"split": "train", "columns": {}, "arguments": {}, "streaming": False, "max_bad_rows": 0.0, **changes}
    return SimpleNamespace(**{**fields, **given})


def suite(items: int, **data: Any) -> SimpleNamespace:
    return SimpleNamespace(data=block(**data), items=items, exclude_training_prompts=True)
