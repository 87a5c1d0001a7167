"""What a run will do: every stage with its fingerprint and folder, whether it is done, interrupted or new, and why.

Reads the config and the run folder and writes nothing. Neither torch nor trl is imported, so `posttrain plan` answers
at once. The runner and each stage process plan alike and arrive at the same fingerprints.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal

from data.errors import UserError
from data.generalisation import unseen_families
from data.harder import HARDER_VERSION
from data.home import from_home
from data.rewording import REWORDING_VERSION
from training.benchmarks.identity import benchmark_identity, questions_identity
from training.config import (
    DataBlock,
    EvaluateStage,
    ExportStage,
    MergeStage,
    Pipeline,
    RewardSpec,
    SampleStage,
    Stage,
    SurgeryStage,
)
from training.config.chat_templates import chat_template_path
from training.config.data_cleaning import against_benchmarks, against_files, against_suites
from training.config.generalisation import NAME as GENERALISATION
from training.config.generalisation import generated_sources, trained_families
from training.config.identity_block import identity_block
from training.config.probe import Probe
from training.config.scorers import stage_named
from training.environments import environment_identity
from training.identity import IDENTITY_VERSION, default_cache_dir, derived_seed, file_sha256, fingerprint
from training.interventions import identity_of
from training.model_files import model_files
from training.pins import Pins
from training.plan_parents import ancestors, choosing_probes, merge_base, parent_names
from training.plan_reason import done_reason, interrupted_reason, new_reason
from training.plan_sample import drawing_identity
from training.record import read_record
from training.run_folder import RunFolder
from training.tools import tool_identity

State = Literal["done", "running", "interrupted", "new"]
"""`running` is told by `launch.running`: a folder alone does not say whether somebody works in it."""
BASE = "base"
EVALUATION_REWARDS = ("answer", "format")
"""What every evaluation is scored with: accuracy and format rate."""

CLEANING_VERSION = 1
"""Raised when the same rows are told apart otherwise: tokens, shingles, n-grams."""

_NOT_CONTENT = ("licence", "package", "requirement")


@dataclass(frozen=True)
class PlannedStage:
    """One stage of a run. `stage` is None for the base; `parents` are names, the model first, then the data's stage."""

    index: int
    name: str
    kind: str
    stage: Stage | None
    identity: dict[str, Any]
    fingerprint: str
    parents: list[str]
    folder: Path
    state: State
    reason: str
    interventions: list[dict[str, Any]] = field(default_factory=list)
    """Of a finished stage: what detectors did to it; part of its children's identity."""


@dataclass(frozen=True)
class RunPlan:
    """All stages in order, the base first. `pins` maps each hub branch that was asked for to its commit."""

    run_dir: Path
    stages: list[PlannedStage]
    pins: dict[str, str]

    def __getitem__(self, name: str) -> PlannedStage:
        return next(stage for stage in self.stages if stage.name == name)

    @property
    def fingerprints(self) -> dict[str, str]:
        """Fingerprint by stage name."""
        return {stage.name: stage.fingerprint for stage in self.stages}

    @property
    def folders(self) -> dict[str, Path]:
        """Folder by stage name."""
        return {stage.name: stage.folder for stage in self.stages}

    @property
    def done(self) -> bool:
        """Whether every stage has its record."""
        return all(stage.state == "done" for stage in self.stages)


def plan_run(pipeline: Pipeline, run_dir: Path) -> RunPlan:
    """Plan `pipeline` in `run_dir`; raises UserError for inputs that are missing or cannot be pinned.

    A hub branch that no earlier run pinned is looked up once (see `training.pins`); the runner writes it down.
    """
    run = RunFolder(run_dir)
    pins = Pins.load(run_dir, pipeline.offline)
    planned: dict[str, PlannedStage] = {}
    identity = base_identity(pipeline, pins)
    planned[BASE] = _placed(run, 0, BASE, "base", None, identity, [], {})
    for index, stage in enumerate(pipeline.stages, start=1):
        parents = parent_names(stage)
        known = {name: planned[name].fingerprint for name in parents}
        identity = stage_identity(pipeline, stage, list(known.values()), pins)
        steered = [planned[name].interventions for name in parents]
        if any(steered):
            identity["parent_interventions"] = steered
        planned[stage.name] = _placed(run, index, stage.name, stage.kind, stage, identity, parents, known)
    return RunPlan(run_dir, list(planned.values()), pins.resolved)


def data_seed(pipeline: Pipeline, owner: str) -> int:
    """Return the seed of generated data that names none; `owner` is the stage or suite the data block belongs to."""
    return derived_seed(pipeline.seed, owner)


def seeded_sources(block: DataBlock, seed: int) -> list[tuple[DataBlock, int]]:
    """Return the block's sources with the seed of each one's generated rows; `seed` is the block's own."""
    if block.mix is None:
        return [(block, seed)]
    return [(part, derived_seed(seed, f"mix/{number}")) for number, part in enumerate(block.mix)]


def base_identity(pipeline: Pipeline, pins: Pins) -> dict[str, Any]:
    """Return the block of `00-base`: the bundled model's pins, the hub commit, or the hashes of a local folder."""
    return {
        "identity_version": IDENTITY_VERSION,
        "kind": "base",
        "experiment": {"chat_template": _template(pipeline.chat_template, "chat_template")},
        "parents": [],
        "model": _model(pipeline.model, pins),
    }


def _model(model: str, pins: Pins) -> dict[str, Any]:
    if model.startswith("bundled:"):
        from training.bundled import bundled_spec

        name = model.removeprefix("bundled:")
        spec = {key: value for key, value in bundled_spec(name).items() if key not in _NOT_CONTENT}
        return {"bundled": name, **spec}
    folder = from_home(model)
    if folder.is_dir():
        files = model_files(folder, hidden=False)
        if not (folder / "config.json").is_file():
            raise UserError(f"model: {model} has no config.json; give a folder in transformers format")
        return {"files": {str(path.relative_to(folder)): _file_hash(path) for path in files}}
    return {"hub": model.partition("@")[0], "commit": pins.model(model)}


def stage_identity(pipeline: Pipeline, stage: Stage, parents: list[str], pins: Pins) -> dict[str, Any]:
    """Return the block that is fingerprinted: the stage's experiment with every input named by its content.

    Paths, names of parents and seeds left to be derived are replaced by hashes, fingerprints and the seeds themselves.
    """
    experiment = identity_block(stage)
    experiment["chat_template"] = _template(stage.chat_template, f"stages.{stage.name}.chat_template")
    block: dict[str, Any] = {
        "identity_version": IDENTITY_VERSION,
        "kind": stage.kind,
        "experiment": experiment,
        "parents": parents,
        "seed": pipeline.seed if stage.seed is None else stage.seed,
    }
    if isinstance(stage, EvaluateStage):
        experiment.pop("suites")
        _name_tools(experiment, stage)
        block["suites"] = {name: _suite(pipeline, name, pins) for name in stage.suites}
        block["rewards"] = [_reward(RewardSpec(name=name), stage.name) for name in EVALUATION_REWARDS]
        if stage.benchmarks:
            experiment.pop("benchmarks")
            block["benchmarks"] = {
                name: benchmark_identity(pipeline.benchmarks[name], pins.dataset) for name in stage.benchmarks
            }
        if stage.generalisation is not None:
            block["generalisation"] = _generalisation(pipeline, stage, pins)
        return block
    if isinstance(stage, ExportStage):
        return block
    if isinstance(stage, SurgeryStage):
        if isinstance(stage, MergeStage):
            names = parent_names(stage)
            block["merge_base"] = [names.index(name) for name in merge_base(stage)]
        return block
    experiment.pop("data")
    block["data"] = _data(pipeline, stage.data, stage.name, pins)
    if "probe" in experiment:
        suites = {name: pipeline.suites[name] for name in experiment["probe"].pop("suites")}
        block["probe_suites"] = {
            name: {"items": suite.items, "data": _data(pipeline, suite.data, name, pins)}
            for name, suite in suites.items()
        }
    drawing = drawing_identity(stage, parent_names(stage), lambda model: _model(model, pins))
    if drawing or isinstance(stage, SampleStage):
        block["drawing"] = drawing
    if "rewards" in experiment:
        experiment.pop("rewards")
        block["rewards"] = [_reward(spec, stage.name) for spec in getattr(stage, "rewards", [])]
    _name_tools(experiment, stage)
    return block


def _name_tools(experiment: dict[str, Any], stage: Any) -> None:
    """Put what identifies the tools and the environment in place of what names them."""
    if experiment.get("tools", "rows") != "rows":
        experiment["tools"] = [tool_identity(spec) for spec in stage.tools]
    if "environment" in experiment:
        experiment["environment"] = environment_identity(stage.environment)
    if "tools" in experiment.get("probe", {}):
        experiment["probe"]["tools"] = [tool_identity(spec) for spec in stage.probe.tools]


def _data(pipeline: Pipeline, block: DataBlock, owner: str, pins: Pins) -> dict[str, Any]:
    return _rows_identity(pipeline, block, data_seed(pipeline, owner), pins)


def _rows_identity(pipeline: Pipeline, block: DataBlock, seed: int, pins: Pins) -> dict[str, Any]:
    from data.sources import data_identity

    how = block.model_dump(mode="json", include={"columns", "limit", "max_prompt_tokens"})
    if block.hub is not None:
        how.update(block.model_dump(mode="json", include={"split", "subset"}))
    how |= _cleaning(pipeline, block, pins)
    if block.difficulty is not None:
        how["difficulty"] = _difficulty(block)
    if block.validation is not None:
        how["validation"] = {"share": block.validation.share, "seed": block.validation.split_seed(seed)}
    if block.mix is None:
        pin = partial(pins.dataset, subset=block.subset)
        return {**how, "source": data_identity(block, seed, pin, _file_hash)}
    parts = []
    for part, (_, part_seed) in zip(block.mix, seeded_sources(block, seed), strict=True):
        asked = {"weight": part.weight, "rows": part.rows}
        # Which of the stage's parents gives the rows: a stage has no identity here but its fingerprint there.
        asked |= {} if part.stage is None else {"data_parent": block.stages.index(part.stage)}
        parts.append(asked | _rows_identity(pipeline, part, part_seed, pins))
    return {**how, "mix": parts, "mix_rows": block.mix_rows, "mix_seed": seed}


def _difficulty(block: DataBlock) -> dict[str, Any]:
    assert block.difficulty is not None
    how = block.difficulty.model_dump(mode="json", exclude={"measured_by"})
    measured_by = block.difficulty.measured_by
    named = stage_named(measured_by)
    if named is not None:
        return {**how, "data_parent": block.stages.index(named)}
    return how if measured_by is None else {**how, "sha256": _file_hash(from_home(measured_by))}


def _cleaning(pipeline: Pipeline, block: DataBlock, pins: Pins) -> dict[str, Any]:
    """What leaves rows out for what they say, by content; nothing where the block asks for none of it."""
    how: dict[str, Any] = {} if block.dedup == "none" else {"dedup": block.dedup}
    if block.dedup == "near":
        how["near_threshold"] = block.near_threshold
    if block.decontaminate is not None:
        suites = {name: pipeline.suites[name] for name in against_suites(block.decontaminate, pipeline.stages)}
        how["decontaminate"] = block.decontaminate.model_dump(mode="json", exclude={"against"}) | {
            "suites": [
                {"items": suite.items, "data": _data(pipeline, suite.data, name, pins)}
                for name, suite in suites.items()
            ],
            "files": [_file_hash(from_home(path)) for path in against_files(block.decontaminate)],
        }
        benchmarks = against_benchmarks(block.decontaminate, pipeline.stages)
        if benchmarks:
            asked = [questions_identity(name, pipeline.benchmarks[name], pins.dataset) for name in benchmarks]
            how["decontaminate"]["benchmarks"] = asked
    return how if not how else how | {"cleaning": CLEANING_VERSION}


def _file_hash(path: Path) -> str:
    return file_sha256(path, default_cache_dir())


def _suite(pipeline: Pipeline, name: str, pins: Pins) -> dict[str, Any]:
    """A suite's items depend on its data and, where training prompts are excluded, on what every stage trains on and
    chooses its model by."""
    suite = pipeline.suites[name]
    identity = {"items": suite.items, "data": _data(pipeline, suite.data, name, pins)}
    if suite.exclude_training_prompts:
        identity["excluded"] = _trained_on(pipeline, {stage.name for stage in pipeline.stages}, pins)
        chosen_by = [_chosen_by(pipeline, *chooser, pins) for chooser in choosing_probes(pipeline)]
        if chosen_by:
            identity["chosen_by"] = chosen_by
    return identity


def _generalisation(pipeline: Pipeline, stage: EvaluateStage, pins: Pins) -> dict[str, Any]:
    """What decides the items of `generalisation` beside its own block: every stage's rows, which of them the model was
    trained on, and how ours are made."""
    generating = dict.fromkeys(name for name, _, _ in generated_sources(pipeline.stages))
    trained, own = trained_families(pipeline.stages), ancestors(pipeline, stage.parent)
    block = stage.generalisation
    assert block is not None
    return {
        "seed": data_seed(pipeline, GENERALISATION),
        "trained": [[*_trained_on(pipeline, {name}, pins), name in own] for name in generating],
        "excluded": _trained_on(pipeline, {stage.name for stage in pipeline.stages}, pins),
        "chosen_by": [_chosen_by(pipeline, *chooser, pins) for chooser in choosing_probes(pipeline)],
        "unseen": unseen_families(trained) if block.unseen is None else block.unseen,
        "versions": [HARDER_VERSION, REWORDING_VERSION],
    }


def _trained_on(pipeline: Pipeline, names: Collection[str], pins: Pins) -> list[str]:
    """The data of the stages with these names that is no other stage's."""
    blocks = [(getattr(stage, "data", None), stage.name) for stage in pipeline.stages if stage.name in names]
    own = [_data(pipeline, block, name, pins) for block, name in blocks if block is not None and block.stage is None]
    return sorted({fingerprint(data) for data in own})


def _chosen_by(pipeline: Pipeline, stage: str, name: str, probe: Probe, pins: Pins) -> dict[str, Any]:
    """The questions by which a stage chooses the model it leaves, by content (`training.questions`)."""
    suite = pipeline.suites[name]
    trained = _trained_on(pipeline, ancestors(pipeline, stage), pins) if suite.exclude_training_prompts else []
    data = _data(pipeline, suite.data, name, pins)
    return {"behind": suite.items, "items": probe.items, "data": data, "excluded": trained}


def _reward(spec: RewardSpec, stage: str) -> dict[str, Any]:
    from training.rewards.resolve import reward_identity

    try:
        return reward_identity(spec)
    except UserError as error:
        raise UserError(f"stages.{stage}.{error}") from error


def _template(value: str | None, key: str) -> dict[str, str] | None:
    if value is None:
        return None
    path = chat_template_path(value)
    if path is None:
        raise UserError(f"{key}: {value} is neither a file nor a shipped chat template")
    return {"sha256": _file_hash(path)}


def _placed(
    run: RunFolder,
    index: int,
    name: str,
    kind: str,
    stage: Stage | None,
    identity: dict[str, Any],
    parents: list[str],
    parent_fingerprints: Mapping[str, str],
) -> PlannedStage:
    digest = fingerprint(identity)
    folder = run.stage_folder(index, name, digest)
    record = read_record(folder)
    state: State
    if record is not None:
        state, reason = "done", done_reason(folder, record)
    elif folder.is_dir():
        state, reason = "interrupted", interrupted_reason(folder)
    else:
        state, reason = "new", new_reason(run, name, identity, parent_fingerprints)
    steered = identity_of(record)
    return PlannedStage(index, name, kind, stage, identity, digest, parents, folder, state, reason, steered)
