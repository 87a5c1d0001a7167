"""reasoning-gym's task families and their parameters, read from its sources: importing the package takes seconds."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

from training.config.dataclass_source import FieldInfo, own_fields, parse
from training.config.trainer_fields import package_dir

_REGISTERED = re.compile(r'^DATASET_NAME = "(\w+)"$', re.MULTILINE)
_SET_BY_US = ("seed", "size")


@cache
def families() -> dict[str, Path]:
    """Return the source file of every task family, by the family's name."""
    found = {}
    for path in sorted(package_dir("reasoning_gym").rglob("*.py")):
        for name in _REGISTERED.findall(path.read_text(encoding="utf-8")):
            found[name] = path
    return found


@cache
def parameters(family: str) -> dict[str, FieldInfo]:
    """Return the parameters of a family, without its seed and size, which posttrain sets."""
    tree = parse(families()[family])
    registration = next(
        node for node in ast.walk(tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "register_dataset"
    )
    config_class = ast.unparse(registration.args[2])
    definition = next(node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == config_class)
    return {name: info for name, info in own_fields(definition).items() if name not in _SET_BY_US}
