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

RESOLVED_NAME = "pipeline.resolved.json"
MODEL_KINDS = ("base", "sft", "dpo", "grpo")


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
        """Whether this stage leaves a model (evaluate and sample stages do not)."""
        return self.kind not in ("evaluate", "sample")

    @property
    def fingerprint(self) -> str | None:
        """The 64 hex digits of the record, or None before it is written."""
        return self.record.get("fingerprint") if self.record else None

    @property
    def parents(self) -> list[str]:
        """Names of the parents, the model first: from the record, else from the config."""
        if self.record is not None:
            return [parent["stage"] for parent in self.record.get("parents", [])]
        data = self.config.get("data") or {}
        data_stage = data.get("stage") if isinstance(data, dict) else None
        return [name for name in (self.config.get("parent"), data_stage) if name]

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a JSON-lines file in the stage folder; empty when there is none."""
        return read_lines(self.folder / name) if self.folder is not None else []


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
    run_dir = Path(run_dir)
    resolved = run_dir / RESOLVED_NAME
    if not resolved.is_file():
        raise UserError(f"{run_dir} is not a run folder: it has no {RESOLVED_NAME}. Give runs/<pipeline name>.")
    pipeline = json.loads(resolved.read_text(encoding="utf-8"))
    newest = _newest_records(run_dir)
    folders: dict[str, str] = pipeline.get("folders") or {}
    configs = [{"name": "base", "kind": "base", "model": pipeline.get("model")}, *pipeline.get("stages", [])]
    stages = [_read_stage(run_dir, config, folders, newest) for config in configs]
    return RunView(str(pipeline.get("name", run_dir.name)), run_dir, pipeline, stages)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The JSON objects of a JSON-lines file, skipping a last line that is still being written; empty when absent."""
    if not path.is_file():
        return []
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows


def _read_stage(
    run_dir: Path, config: dict[str, Any], folders: dict[str, str], newest: dict[str, tuple[Path, dict[str, Any]]]
) -> StageView:
    """One stage with its folder: the one the runner wrote down, else the newest finished one of that name."""
    name, kind = str(config["name"]), str(config["kind"])
    if name in folders:
        folder = run_dir / folders[name]
        return StageView(name, kind, config, folder if folder.is_dir() else None, _read_record(folder))
    if name in newest:
        folder, record = newest[name]
        return StageView(name, kind, config, folder, record)
    unfinished = sorted(path for path in run_dir.glob(f"[0-9][0-9]-{name}-*") if path.is_dir())
    unfinished = [path for path in unfinished if path.name[3:-9] == name]
    return StageView(name, kind, config, max(unfinished, key=lambda path: path.stat().st_mtime, default=None), None)


def _newest_records(run_dir: Path) -> dict[str, tuple[Path, dict[str, Any]]]:
    """Stage name -> (folder, record) of the record finished last."""
    newest: dict[str, tuple[Path, dict[str, Any]]] = {}
    for path in sorted(run_dir.glob("[0-9][0-9]*-*/record.json")):
        record = _read_record(path.parent)
        if record is None or "stage" not in record:
            continue
        known = newest.get(record["stage"])
        if known is None or str(record.get("finished_at", "")) >= str(known[1].get("finished_at", "")):
            newest[record["stage"]] = (path.parent, record)
    return newest


def _read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a stage folder, or None before it is written."""
    path = folder / "record.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
