"""Loading: YAML file and overrides in, expanded and checked pipeline out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.config.expand import expand
from training.config.pipeline import Pipeline
from training.config.yaml_file import read_yaml


def load_pipeline(path: Path, overrides: Sequence[str] = ()) -> Pipeline:
    """Return the expanded, resolved pipeline of a YAML file; raises ConfigError listing every mistake."""
    return expand(Pipeline.model_validate(read_yaml(Path(path))))
