"""Stand-ins for the config's data blocks and suites: objects with the same fields."""

from types import SimpleNamespace
from typing import Any


def generator(families: dict[str, dict[str, Any]], rows: int | None = None, **changes: Any) -> SimpleNamespace:
    fields = {"name": "reasoning_gym", "families": families, "rows": rows, "seed": None, "completions": None}
    return SimpleNamespace(**{**fields, **changes})


def block(**changes: Any) -> SimpleNamespace:
    fields: dict[str, Any] = dict.fromkeys(
        ("generator", "path", "hub", "stage", "subset", "limit", "max_prompt_tokens")
    )
    return SimpleNamespace(**{**fields, "split": "train", "columns": {}, **changes})


def suite(items: int, **data: Any) -> SimpleNamespace:
    return SimpleNamespace(data=block(**data), items=items, exclude_training_prompts=True)
