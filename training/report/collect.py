"""Reads a run folder into plain dataclasses for the summary and the report.

Owns which folder belongs to which stage of the present pipeline, and what is wrong with a run as it lies there. It
tolerates everything unfinished or lost: a stage without a folder, a folder without a record, a record that cannot be
read, a run without its pipeline. It verifies no hashes (that is `posttrain lineage`) and writes nothing.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.config.scorers import stage_named
from training.config.stages import MODEL_KINDS, TRAINING_KINDS
from training.rank_state import bad_end, read_rank_states
from training.record import missing_files, read_record
from training.report.line_files import read_lines
from training.run_folder import RESOLVED_NAME, RunFolder

__all__ = ["RunView", "StageView", "config_parents", "read_lines", "read_run"]


@dataclass(frozen=True)
class StageView:
    """One stage of the pipeline with what its folder holds; `folder` and `record` are None until they exist.

    `problem` says why a record that is there could not be read.
    """

    name: str
    kind: str
    config: dict[str, Any]
    folder: Path | None
    record: dict[str, Any] | None
    problem: str | None = None

    @property
    def state(self) -> str:
        """`done` with a record, `unreadable` with one we cannot read, `unfinished` without, else `not run`."""
        if self.record is not None:
            return "done"
        if self.problem is not None:
            return "unreadable"
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

    @cached_property
    def metrics(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl, one an optimizer step."""
        return self.lines("metrics.jsonl")

    @cached_property
    def items(self) -> list[dict[str, Any]]:
        """The lines of items.jsonl, one an item that an evaluation asked."""
        return self.lines("items.jsonl")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of a JSON-lines file in the stage folder; empty when there is none."""
        return read_lines(self.folder / name) if self.folder is not None else []

    def path(self, name: str) -> Path:
        """A file of the stage folder; one that does not exist where there is no folder."""
        return (self.folder or Path("/nonexistent")) / name


def config_parents(config: dict[str, Any]) -> list[str]:
    """The parents that a stage's block names, as `plan_parents.parent_names` has them: model, data, what scores."""
    data = config.get("data") or {}
    sources = [data, *(data.get("mix") or [])]
    merged = config["from"] if isinstance(config.get("from"), list) else []
    named = [
        config.get("parent") if config.get("model") is None else None,
        *merged,
        *(source.get("stage") for source in sources),
        stage_named((data.get("difficulty") or {}).get("measured_by")),
        stage_named((config.get("reward_model") or {}).get("model")),
    ]
    return list(dict.fromkeys(name for name in named if name))


@dataclass(frozen=True)
class RunView:
    """A run folder: the resolved pipeline and its stages in pipeline order, the base first.

    `damage` has a sentence for whatever should be there and is not; stages that have yet to run are no damage.
    """

    name: str
    path: Path
    pipeline: dict[str, Any]
    stages: list[StageView] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)

    def stage(self, name: str) -> StageView | None:
        """The stage of that name, or None."""
        return next((stage for stage in self.stages if stage.name == name), None)

    @property
    def models(self) -> list[StageView]:
        """The base and every stage that leaves a model, in pipeline order."""
        return [stage for stage in self.stages if stage.is_model]

    @property
    def missing(self) -> list[str]:
        """What has not finished yet, a sentence each, with how far it came."""
        return [f"{stage.name}: {_how_far(stage)}" for stage in self.stages if stage.state in ("unfinished", "not run")]

    def evaluations(self, model: str) -> list[StageView]:
        """The evaluate stages of a model, finished or not, in pipeline order."""
        return [stage for stage in self.stages if stage.kind == "evaluate" and stage.parents[:1] == [model]]


def read_run(run_dir: Path) -> RunView:
    """Read a run folder, or what is left of one; raises UserError when it is none."""
    run = RunFolder(Path(run_dir))
    pipeline, damage = _read_pipeline(run)
    configs = [{"name": "base", "kind": "base", "model": pipeline.get("model")}, *pipeline.get("stages", [])]
    stages = [_read_stage(run, config, pipeline.get("folders") or {}) for config in configs]
    name = str(pipeline.get("name", run.path.name))
    return RunView(name, run.path, pipeline, stages, [*damage, *_damage(stages)])


def _read_pipeline(run: RunFolder) -> tuple[dict[str, Any], list[str]]:
    """The resolved pipeline, else one put together from the records; UserError where there is neither."""
    why = f"{RESOLVED_NAME} is missing"
    try:
        pipeline = run.read_resolved()
    except UserError:
        pipeline, why = None, f"{RESOLVED_NAME} is not JSON"
    if pipeline is not None and _is_pipeline(pipeline):
        return pipeline, []
    if pipeline is not None:
        why = f"{RESOLVED_NAME} is not one that posttrain wrote"
    found = [_read_record(folder.path) for folder in run.stages()]
    records = {record["stage"]: record for record, _ in found if record is not None}
    if not records:
        raise UserError(f"{run.path} is not a run folder: {why}, and no stage has a record; give runs/<pipeline name>")
    stages = [
        {"parent": next(iter(_parent_names(record)), None), **record.get("config", {}), "name": name}
        | {"kind": record["kind"]}
        for name, record in records.items()
        if name != "base"
    ]
    model = records.get("base", {}).get("config", {}).get("model")
    name = str(next(iter(records.values())).get("pipeline", run.path.name))
    damage = [f"{why}: the stages are those that have a record, and the command is not known"]
    return {"name": name, "model": model, "stages": stages}, damage


def _is_pipeline(pipeline: dict[str, Any]) -> bool:
    stages = pipeline.get("stages")
    return isinstance(stages, list) and all(isinstance(one, dict) and {"name", "kind"} <= one.keys() for one in stages)


def _parent_names(record: dict[str, Any]) -> list[str]:
    return [parent["stage"] for parent in record.get("parents", [])]


def _read_stage(run: RunFolder, config: dict[str, Any], folders: dict[str, str]) -> StageView:
    """One stage with its folder: the one the runner wrote down, else the newest of that name."""
    name, kind = str(config["name"]), str(config["kind"])
    if name in folders:
        folder = run.path / folders[name]
        return StageView(name, kind, config, folder if folder.is_dir() else None, *_read_record(folder))
    candidates = [(found.path, *_read_record(found.path)) for found in run.stages() if found.name == name]
    if not candidates:
        return StageView(name, kind, config, None, None)
    return StageView(name, kind, config, *max(candidates, key=lambda candidate: _finished_at(candidate[1])))


def _read_record(folder: Path) -> tuple[dict[str, Any] | None, str | None]:
    """(record, None), or (None, why it cannot be read); (None, None) where there is none."""
    try:
        return read_record(folder), None
    except (UserError, OSError) as error:
        return None, str(error).replace(f"{folder.parent}/", "")  # the page is passed on; the path is nobody's business


def _finished_at(record: dict[str, Any] | None) -> str:
    """ISO time of a record; an unfinished folder sorts first."""
    return str(record.get("finished_at", "")) if record else ""


def _damage(stages: list[StageView]) -> list[str]:
    """What is broken or gone: unreadable records, files that records promise, folders that children were made from."""
    found = [f"{stage.name}: {stage.problem}" for stage in stages if stage.problem is not None]
    for stage in stages:
        if stage.record is not None and stage.folder is not None:
            lost = missing_files(stage.folder, stage.record)
            more = f" and {len(lost) - 1} more files of its record are" if len(lost) > 1 else " is"
            found += [f"{stage.name}: {lost[0]}{more} missing"] if lost else []
    for stage in stages:
        children = [child.name for child in stages if child.record is not None and stage.name in child.parents]
        if stage.folder is None and children:
            found.append(f"{stage.name}: its folder is gone, though {children[0]} was made from it")
    return found


def _how_far(stage: StageView) -> str:
    """The state of an unfinished stage, with its last step and, where its ranks ended badly, how."""
    if stage.folder is None:
        return stage.state
    try:
        states = read_rank_states(stage.folder)
    except (OSError, ValueError):
        return f"{stage.state}, its ranks' state files cannot be read"
    steps = [state["step"] for state in states if state.get("step") and state.get("max_steps")]
    far = f", at step {min(steps)} of {states[0]['max_steps']}" if steps else ""
    ended = ": ".join(part for part in bad_end(states) or () if part)
    return f"{stage.state}{far}, {ended}" if ended else f"{stage.state}{far}"
