"""Reads a run folder into plain dataclasses for the summary and the report.

Owns which folder belongs to which stage of the present pipeline and tolerates everything unfinished: a stage without a
folder, a folder without a record, a log whose last line was cut off. It verifies no hashes (that is `posttrain
lineage`) and writes nothing.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.config.scorers import stage_named
from training.config.stages import MODEL_KINDS, TRAINING_KINDS
from training.record import read_record
from training.run_folder import RESOLVED_NAME, RunFolder


@dataclass(frozen=True)
class StageView:
    """One stage of the pipeline with what its folder holds; `folder` and `record` are None until they exist."""

    name: str
    kind: str
    config: dict[str, Any]
    folder: Path | None
    record: dict[str, Any] | None

    @property
    def state(self) -> str:
        """`done` with a record, `unfinished` with a folder only, else `not run`."""
        if self.record is not None:
            return "done"
        return "unfinished" if self.folder is not None else "not run"

    @property
    def is_model(self) -> bool:
        """Whether this stage leaves a language model."""
        return self.kind in ("base", *MODEL_KINDS)

    @property
    def trains(self) -> bool:
        """Whether this stage has optimizer steps."""
        return self.kind in TRAINING_KINDS

    @property
    def fingerprint(self) -> str | None:
        """The 64 hex digits of the record, or None before it is written."""
        return self.record.get("fingerprint") if self.record else None

    @property
    def parents(self) -> list[str]:
        """Names of the parents, the model first: from the record, else from the config."""
        if self.record is not None:
            return [parent["stage"] for parent in self.record.get("parents", [])]
        return config_parents(self.config)

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a JSON-lines file in the stage folder; empty when there is none."""
        return read_lines(self.folder / name) if self.folder is not None else []


def config_parents(config: dict[str, Any]) -> list[str]:
    """The parents that a stage's block names, as `plan_parents.parent_names` has them: model, data, what scores."""
    data = config.get("data") or {}
    sources = [data, *(data.get("mix") or [])]
    named = [
        config.get("parent") if config.get("model") is None else None,
        *(source.get("stage") for source in sources),
        stage_named((data.get("difficulty") or {}).get("measured_by")),
        stage_named((config.get("reward_model") or {}).get("model")),
    ]
    return list(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True)
class RunView:
    """A run folder: the resolved pipeline and its stages in pipeline order, the base first."""

    name: str
    path: Path
    pipeline: dict[str, Any]
    stages: list[StageView] = field(default_factory=list)

    def stage(self, name: str) -> StageView | None:
        """The stage of that name, or None."""
        return next((stage for stage in self.stages if stage.name == name), None)

    @property
    def models(self) -> list[StageView]:
        """The base and every stage that leaves a model, in pipeline order."""
        return [stage for stage in self.stages if stage.is_model]

    def evaluations(self, model: str) -> list[StageView]:
        """The evaluate stages of a model, finished or not, in pipeline order."""
        return [stage for stage in self.stages if stage.kind == "evaluate" and stage.parents[:1] == [model]]


def read_run(run_dir: Path) -> RunView:
    """Read a run folder; raises UserError when it is not one."""
    run = RunFolder(Path(run_dir))
    pipeline = run.read_resolved()
    if pipeline is None:
        raise UserError(f"{run_dir} is not a run folder: it has no {RESOLVED_NAME}; give runs/<pipeline name>")
    configs = [{"name": "base", "kind": "base", "model": pipeline.get("model")}, *pipeline.get("stages", [])]
    stages = [_read_stage(run, config, pipeline.get("folders") or {}) for config in configs]
    return RunView(str(pipeline.get("name", run.path.name)), run.path, pipeline, stages)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a JSON-lines file, skipping a last line that is still being written; empty when absent."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _read_stage(run: RunFolder, config: dict[str, Any], folders: dict[str, str]) -> StageView:
    """One stage with its folder: the one the runner wrote down, else the newest of that name."""
    name, kind = str(config["name"]), str(config["kind"])
    if name in folders:
        folder = run.path / folders[name]
        return StageView(name, kind, config, folder if folder.is_dir() else None, read_record(folder))
    candidates = [(found.path, read_record(found.path)) for found in run.stages() if found.name == name]
    if not candidates:
        return StageView(name, kind, config, None, None)
    return StageView(name, kind, config, *max(candidates, key=lambda candidate: _finished_at(candidate[1])))


def _finished_at(record: dict[str, Any] | None) -> str:
    """ISO time of a record; an unfinished folder sorts first."""
    return str(record.get("finished_at", "")) if record else ""
