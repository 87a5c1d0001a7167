"""From the file as written to the pipeline as run: `evaluate:` becomes stages; parents, seeds, system are filled in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from training.config.chat_templates import chat_template_path
from training.config.decoding import EvaluateBlock
from training.config.pipeline import Pipeline
from training.config.scorers import stage_named
from training.config.stages import MODEL_KINDS, EvaluateStage, MergeStage, SampleStage, Stage

BASE = "base"


def expand(pipeline: Pipeline) -> Pipeline:
    """Return the pipeline with evaluation stages inserted and every stage's parent, seed and system filled in."""
    stages: list[Stage] = []
    if pipeline.evaluate is not None:
        stages.append(_evaluate_stage(pipeline.evaluate, BASE))
    for stage, parent in with_parents(pipeline.stages):
        stages.append(stage.model_copy(update=_drawn_from(stage) | {"parent": parent}))
        if stage.kind in MODEL_KINDS and pipeline.evaluate is not None:
            stages.append(_evaluate_stage(pipeline.evaluate, stage.name))
    filled = [_inherit(stage, pipeline) for stage in stages]
    return pipeline.model_copy(update={"stages": filled, "chat_template": _template_file(pipeline.chat_template)})


def with_parents(stages: Sequence[Stage]) -> Iterator[tuple[Stage, str]]:
    """Yield every stage with its parent, as it is filled in or worked out.

    A parent is what `from:` (or `model: stage:NAME`) names, of a merge the first of them, else the last stage before it
    that leaves a model, else the base.
    """
    previous = BASE
    for stage in stages:
        yield stage, stage.parent or _starts_from(stage) or previous
        if stage.kind in MODEL_KINDS:
            previous = stage.name


def _starts_from(stage: Stage) -> str | None:
    """The model that a stage names itself, if it does; the first where it merges several."""
    if isinstance(stage, MergeStage):
        return stage.from_[0]
    return stage.from_ or (stage_named(stage.model) if isinstance(stage, SampleStage) else None)


def _drawn_from(stage: Stage) -> dict[str, None]:
    """`model: stage:NAME` is a parent like any other once it is filled in."""
    return {"model": None} if isinstance(stage, SampleStage) and stage_named(stage.model) is not None else {}


def evaluation_name(model: str) -> str:
    """Return the name of the stage that `evaluate:` makes for a model."""
    return f"evaluate-{model}"


def _evaluate_stage(block: EvaluateBlock, model: str) -> EvaluateStage:
    own = {"name": evaluation_name(model), "kind": "evaluate", "from": model, "parent": model}
    return EvaluateStage.model_validate({**block.model_dump(), **own})


def _inherit(stage: Stage, pipeline: Pipeline) -> Stage:
    seed = pipeline.seed if stage.seed is None else stage.seed
    system = pipeline.system if stage.system is None else stage.system
    template = _template_file(stage.chat_template)
    return stage.model_copy(update={"seed": seed, "system": system, "chat_template": template})


def _template_file(value: str | None) -> str | None:
    """The path of a chat template in place of its shipped name; a rule has made sure that there is one."""
    found = None if value is None else chat_template_path(value)
    return value if found is None else str(found)
