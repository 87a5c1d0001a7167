"""The sweep file: one base pipeline and the values that vary, as a grid or a list of points.

A point is the base pipeline with overrides (`key.path=value`), so whatever an override can say can be swept, `seed` as
well. Every point's pipeline is loaded and checked before any of them starts.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, model_validator

from data.home import from_home
from training.config.block import Block, PipelineName
from training.config.document import Document
from training.config.errors import ConfigError, Problem
from training.config.load import load_pipeline
from training.config.pipeline import Pipeline
from training.config.place import Place
from training.config.suggest import nearest
from training.config.yaml_file import read_yaml

_UNSAFE = re.compile(r"[^A-Za-z0-9.+-]+")
_LONGEST_LABEL = 60


class Sweep(Block):
    """The file as written."""

    name: PipelineName = Field(description="Name of the sweep and of its folder, <runs_dir>/<name>.")
    config: Place = Field(min_length=1, description="The base pipeline's YAML, relative to the working directory.")
    overrides: list[str] = Field(default_factory=list, description="key.path=value texts that hold for every point.")
    grid: dict[str, list[Any]] = Field(
        default_factory=dict, description="Values by key path; every combination is a point."
    )
    points: list[dict[str, Any]] = Field(
        default_factory=list, description="The points themselves, each a mapping of key path to value."
    )

    @model_validator(mode="after")
    def either_a_grid_or_points_are_given(self) -> Sweep:
        if bool(self.grid) == bool(self.points):
            raise ValueError("needs either grid or points, and one of them only")
        return self

    @model_validator(mode="after")
    def a_grid_names_values_for_each_key(self) -> Sweep:
        for key, values in self.grid.items():
            if not values:
                raise ValueError(f"grid.{key} has no values; list at least one")
        return self

    def combinations(self) -> list[dict[str, Any]]:
        """Return the values of each point; of a grid, the last key varies fastest."""
        if self.points:
            return self.points
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


@dataclass(frozen=True)
class SweepPoint:
    """One run of a sweep: its number, a name that follows from its values alone, and its overrides and pipeline."""

    index: int
    name: str
    values: dict[str, Any]
    overrides: list[str]
    pipeline: Pipeline


@dataclass(frozen=True)
class LoadedSweep:
    """A sweep file with every point checked. `keys` are the key paths that vary, in the order they were written."""

    name: str
    path: Path
    config_path: Path
    keys: list[str]
    points: list[SweepPoint]


def load_sweep(path: Path | str, overrides: Sequence[str] = ()) -> LoadedSweep:
    """Return a sweep with the pipeline of every point loaded; `overrides` hold for every point, after the file's own.

    Raises ConfigError for mistakes of the sweep file (with file:line) and of a point's pipeline (naming the point).
    """
    document = read_yaml(Path(path))
    sweep = _validated(document)
    combinations = sweep.combinations()
    _refuse_repeated(document, combinations)
    config_path = from_home(sweep.config)
    if not config_path.is_file():
        raise ConfigError([document.problem(("config",), f"there is no such file (looked in {Path.cwd()})")])
    keys = list(dict.fromkeys(key for values in combinations for key in values))
    labels = short_keys(keys)
    points = []
    for index, values in enumerate(combinations):
        own = [f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in values.items()]
        everything = [*sweep.overrides, *overrides, *own]
        name = point_name(values, labels)
        points.append(SweepPoint(index, name, values, everything, _loaded(document, config_path, everything, values)))
    _one_pipeline_name(document, points)
    return LoadedSweep(sweep.name, Path(path), config_path, keys, points)


def _validated(document: Document) -> Sweep:
    if not isinstance(document.tree, dict):
        raise ConfigError([document.problem((), "must be a mapping with name, config and grid or points")])
    if "stages" in document.tree:
        text = f"is a pipeline, no sweep; `posttrain run {document.path}` runs it, a sweep names it as `config`"
        raise ConfigError([document.problem((), text)])
    try:
        return Sweep.model_validate(document.tree)
    except ValidationError as error:
        raise ConfigError(list(_problems(document, error))) from None


def _problems(document: Document, error: ValidationError) -> Iterator[Problem]:
    keys = list(Sweep.model_fields)
    for details in error.errors(include_url=False):
        at = details["loc"]
        if details["type"] == "extra_forbidden":
            text = f"is no key of a sweep{nearest(str(at[0]), keys)}; the keys are {', '.join(keys)}"
            yield document.problem(at, text, show_value=False)
        elif details["type"] == "missing":
            yield document.problem(at, f"is missing: {Sweep.model_fields[str(at[0])].description}", show_value=False)
        elif details["type"] == "value_error":
            yield document.problem(at, str(details["ctx"]["error"]))
        else:
            field = Sweep.model_fields[str(at[0])]
            yield document.problem(at, f"{details['msg'].lower()}. {field.description}")


def _refuse_repeated(document: Document, combinations: list[dict[str, Any]]) -> None:
    for index, values in enumerate(combinations):
        if not values:
            raise ConfigError([document.problem(("points", index), "changes nothing; name a key path and its value")])
        if values in combinations[:index]:
            raise ConfigError([document.problem(("points", index), f"the point {values} stands twice; keep one")])


def _loaded(document: Document, config: Path, overrides: list[str], values: dict[str, Any]) -> Pipeline:
    try:
        return load_pipeline(config, overrides)
    except ConfigError as error:
        where = document.place(())[1].rpartition(":")[0]
        about = f"the point {json.dumps(values, ensure_ascii=False)} of {where}: "
        raise ConfigError([Problem(each.line, about + each.where, each.text) for each in error.problems]) from None


def _one_pipeline_name(document: Document, points: list[SweepPoint]) -> None:
    """A sweep varies one pipeline: its name and runs_dir say whose folder the points lie in, so they cannot vary."""
    for key in ("name", "runtime.runs_dir"):
        if any(key in point.values for point in points):
            at = next((place for place in (("grid", key), ("points",)) if document.holds(place)), ())
            raise ConfigError([document.problem(at, f"{key} names folders and cannot be swept", show_value=False)])


def short_keys(keys: Sequence[str]) -> dict[str, str]:
    """Return each key path's shortest ending that tells it apart from the others: `beta`, `sft.batch_size`."""
    labels = {}
    for key in keys:
        parts = key.split(".")
        endings = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        others = [other for other in keys if other != key]
        unique = (end for end in endings if not any(o == end or o.endswith(f".{end}") for o in others))
        labels[key] = next(unique, key)
    return labels


def point_name(values: dict[str, Any], labels: dict[str, str]) -> str:
    """Return a point's folder name: its labels and values as far as they fit, and a hash that tells it apart."""
    words = [f"{labels[key]}-{value if isinstance(value, str) else json.dumps(value)}" for key, value in values.items()]
    label = "_".join(_UNSAFE.sub("-", word).strip("-") for word in words)[:_LONGEST_LABEL].strip("-_.")
    digest = hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:6]
    return f"{label}_{digest}"
