"""The fields of trl's SFTConfig, DPOConfig, GRPOConfig and RewardConfig, read from the installed sources, not imported.

Importing GRPOConfig takes seconds because it pulls in torch; parsing the class bodies takes a tenth of one. A config
class is followed through its bases, as far as they are imported from trl or are transformers' TrainingArguments.
"""

from __future__ import annotations

import ast
import importlib.util
from functools import cache
from pathlib import Path
from typing import Any

from training.config.dataclass_source import FieldInfo, own_fields, parse
from training.config.trainer_classes import CLASSES, Refused

__all__ = ["CLASSES", "CONFIG_CLASSES", "FieldInfo", "Refused", "default", "fields", "package_dir", "unaccepted"]

CONFIG_CLASSES = {
    "pretrain": "SFTConfig",
    "sft": "SFTConfig",
    "dpo": "DPOConfig",
    "grpo": "GRPOConfig",
    "reward_model": "RewardConfig",
}


@cache
def fields(kind: str) -> dict[str, FieldInfo]:
    """Return every field of the TRL config of a training kind; a subclass's own wording wins."""
    config_class = CONFIG_CLASSES[kind]
    module = config_class.removesuffix("Config").lower()
    return _class_fields(package_dir("trl") / "trainer" / f"{module}_config.py", config_class)


def default(kind: str, name: str) -> Any:
    """Return a field's default where the source writes it as a literal; raises ValueError where it does not."""
    return ast.literal_eval(fields(kind)[name].default_text)


def unaccepted(kind: str, name: str, value: Any) -> str | None:
    """Return what a field accepts, in words, when the value's kind is not among it; None when it is."""
    info = fields(kind)[name]
    return None if info.admits(value) else info.accepted_words


def package_dir(package: str) -> Path:
    """Return the folder of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{package} is not installed", name=package)
    return Path(spec.origin).parent


@cache
def _class_fields(path: Path, class_name: str) -> dict[str, FieldInfo]:
    """Fields of a class in a source file, those of its bases first."""
    definition = next(node for node in parse(path).body if isinstance(node, ast.ClassDef) and node.name == class_name)
    inherited: dict[str, FieldInfo] = {}
    for base in reversed(definition.bases):
        inherited.update(_class_fields(_source_of(ast.unparse(base), path), ast.unparse(base)))
    return inherited | own_fields(definition)


def _source_of(class_name: str, importer: Path) -> Path:
    """The file that defines a class which another source file imports."""
    if class_name == "TrainingArguments":
        return package_dir("transformers") / "training_args.py"
    for node in parse(importer).body:
        if isinstance(node, ast.ImportFrom) and any(name.name == class_name for name in node.names):
            folder = importer.parents[node.level - 1] if node.level else package_dir("trl").parent
            return folder.joinpath(*(node.module or "").split(".")).with_suffix(".py")
    return importer
