"""`posttrain plan` in words: the stages, what each will do and why, and what one step of it means."""

from collections.abc import Iterator

from launch.run import ranks_in_words
from launch.words import table
from training.config import DataBlock, EvaluateStage, GrpoStage, Pipeline, SampleStage
from training.config.deepspeed_file import auto_lines
from training.estimate.batch_algebra import UNITS, algebra, in_words
from training.mixture import planned_lines
from training.plan import PlannedStage, RunPlan


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
        elif isinstance(stage, SampleStage):
            teacher = "" if stage.model is None else f" of {stage.model}"
            prompts = _rows_in_words(stage.data, "prompts")
            yield f"{stage.name}: {prompts} x {stage.draws} draws{teacher}, keeps {stage.keep}"
        else:
            unit = "prompts" if isinstance(stage, GrpoStage) else UNITS[stage.kind]
            sizes = algebra(pipeline, stage, pipeline.runtime)
            yield f"{stage.name}: {in_words(sizes, _rows_in_words(stage.data, unit))}"
        if not isinstance(stage, EvaluateStage):
            yield from (f"{stage.name}: {line}" for line in planned_lines(pipeline, stage))
    for text, models in evaluations.items():
        yield f"evaluate {', '.join(models)}: {text}"


def _evaluation(pipeline: Pipeline, stage: EvaluateStage) -> str:
    suites = " + ".join(f"{name} {pipeline.suites[name].items}" for name in stage.suites)
    drawn = f" and {stage.draws} draws at temperature {stage.temperature:g}" if stage.draws else ""
    block = stage.generalisation
    apart = "" if block is None else f", generalisation 5 x {block.items}"
    return f"{suites} items, greedy{drawn}{apart}, up to {stage.max_completion_length} tokens"


def _rows_in_words(block: DataBlock, unit: str) -> str:
    if block.generator is not None and block.generator.rows is not None:
        return f"{min(block.generator.rows, block.limit or block.generator.rows):,} {unit}"
    where = block.source_in_words
    return f"the first {block.limit:,} {unit} of {where}" if block.limit else f"the {unit} of {where}"
