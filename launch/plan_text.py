"""`posttrain plan` in words: the stages, what each will do and why, and what one step of it means."""

from collections.abc import Iterator
from typing import Any

from data.errors import UserError
from launch.run import ranks_in_words
from launch.words import counted, table
from training.config import (
    DataBlock,
    EvaluateStage,
    ExportStage,
    GrpoStage,
    MergeStage,
    Pipeline,
    SampleStage,
    SurgeryStage,
    UpcycleStage,
    UpscaleStage,
)
from training.config.batch_checks import UNITS
from training.config.deepspeed_file import auto_lines
from training.estimate.batch_algebra import algebra, in_words
from training.estimate.parameters import count
from training.estimate.shape import shape_of
from training.mixture import planned_lines
from training.plan import PlannedStage, RunPlan
from training.plan_parents import parent_names
from training.surgery.lineage import configs_of
from training.tools import turns_in_words


def plan_text(pipeline: Pipeline, plan: RunPlan) -> str:
    """Return the whole text of `posttrain plan`."""
    rows = [_row(stage) for stage in plan.stages]
    header = ["NN", "stage", "kind", "parents", "fingerprint", "action", "why"]
    to_do = sum(stage.state != "done" for stage in plan.stages)
    lines = [
        f"{pipeline.name}: {len(plan.stages)} stages, {to_do} to do, in {plan.run_dir}, "
        f"{ranks_in_words(pipeline.runtime)}",
        "",
        table(header, rows),
    ]
    steps = [*_steps(pipeline), *auto_lines(pipeline)]
    return "\n".join([*lines, "", *steps] if steps else lines)


def _row(stage: PlannedStage) -> list[str]:
    action, why = stage.reason.split(": ", 1)
    return [
        f"{stage.index:02d}",
        stage.name,
        stage.kind,
        ", ".join(stage.parents) or "-",
        stage.fingerprint[:8],
        "skip" if stage.state == "done" else action,
        why,
    ]


def _steps(pipeline: Pipeline) -> Iterator[str]:
    """Yield one line per stage that has steps or draws; evaluations that measure alike share a line."""
    evaluations: dict[str, list[str]] = {}
    for stage in pipeline.stages:
        if isinstance(stage, EvaluateStage):
            evaluations.setdefault(_evaluation(pipeline, stage), []).append(stage.parent)
        elif isinstance(stage, SurgeryStage):
            yield f"{stage.name}: {_surgery(pipeline, stage)}"
        elif isinstance(stage, ExportStage):
            files = [f"safetensors in {stage.save_dtype}", *(f"GGUF {name}" for name in stage.gguf)]
            yield f"{stage.name}: {stage.parent} as {', '.join(files)}"
        elif isinstance(stage, SampleStage):
            teacher = "" if stage.model is None else f" of {stage.model}"
            prompts = _rows_in_words(stage.data, "prompts")
            yield f"{stage.name}: {prompts} x {stage.draws} draws{teacher}, keeps {stage.keep}"
        else:
            unit = "prompts" if isinstance(stage, GrpoStage) else UNITS[stage.kind]
            sizes = algebra(pipeline, stage, pipeline.runtime)
            yield f"{stage.name}: {in_words(sizes, _rows_in_words(stage.data, unit))}"
            if isinstance(stage, GrpoStage) and stage.rollout == "vllm" and pipeline.runtime.vllm is not None:
                mode = pipeline.runtime.vllm.mode
                yield f"{stage.name}: completions by vLLM (mode {mode}), whose memory and speed are not estimated"
            turns = turns_in_words(stage)
            if turns is not None:
                yield f"{stage.name}: {turns}"
        if hasattr(stage, "data"):
            yield from (f"{stage.name}: {line}" for line in planned_lines(pipeline, stage))
    for text, models in evaluations.items():
        yield f"evaluate {', '.join(models)}: {text}"


def _evaluation(pipeline: Pipeline, stage: EvaluateStage) -> str:
    suites = " + ".join(f"{name} {pipeline.suites[name].items}" for name in stage.suites)
    drawn = f" and {stage.draws} draws at temperature {stage.temperature:g}" if stage.draws else ""
    block = stage.generalisation
    parts = [f"{suites} items, greedy{drawn}"] if suites else []
    parts += [] if block is None else [f"generalisation 5 x {block.items}"]
    asked = [f"{', '.join(parts)}, up to {stage.max_completion_length} tokens"] if parts else []
    benchmarks = [f"benchmarks {', '.join(stage.benchmarks)}"] if stage.benchmarks else []
    called = turns_in_words(stage)
    return "; ".join([*asked, *benchmarks, *([] if called is None else [called])])


def _surgery(pipeline: Pipeline, stage: SurgeryStage) -> str:
    """What the stage makes, with the sizes before and after where the base's config can be found."""
    if isinstance(stage, MergeStage):
        parents = parent_names(stage)
        what = f"{stage.method} of {', '.join(stage.from_)}"
        return what if len(parents) == len(stage.from_) else f"{what} over {parents[-1]}"
    try:
        configs = configs_of(pipeline)
        before, after = shape_of(_config(configs, stage.parent)), shape_of(_config(configs, stage.name))
    except UserError as error:
        return f"sizes not known: {error}"
    sizes = f"{counted(count(before).total)} -> {counted(count(after).total)} parameters"
    if isinstance(stage, UpscaleStage):
        return f"{before.layers} layers less {stage.drop_layers}, twice = {after.layers} layers, {sizes}"
    assert isinstance(stage, UpcycleStage)
    return (
        f"{stage.experts} experts, {stage.experts_per_token} + {stage.shared_experts} shared a token, in "
        f"{after.layers - stage.dense_layers} of {after.layers} layers, {sizes}, {counted(count(after).active)} active"
    )


def _config(configs: dict[str, dict[str, Any] | str], name: str) -> dict[str, Any]:
    found = configs[name]
    if isinstance(found, str):
        raise UserError(found)
    return found


def _rows_in_words(block: DataBlock, unit: str) -> str:
    if block.generator is not None and block.generator.rows is not None:
        return f"{min(block.generator.rows, block.limit or block.generator.rows):,} {unit}"
    where = block.source_in_words
    return f"the first {block.limit:,} {unit} of {where}" if block.limit else f"the {unit} of {where}"
