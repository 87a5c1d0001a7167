"""`posttrain plan` in words: the stages, what each will do and why, and what one step of it means."""

from collections.abc import Iterator

from launch.run import ranks_in_words
from launch.words import table
from training.config import DataBlock, DpoStage, EvaluateStage, GrpoStage, Pipeline, Runtime, SampleStage, SftStage
from training.config.trainer_fields import default
from training.plan import PlannedStage, RunPlan

UNITS = {"sft": "rows", "dpo": "pairs", "grpo": "completions"}


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
    steps = list(_steps(pipeline))
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
            yield f"{stage.name}: {_rows_in_words(stage.data, 'prompts')} x {stage.draws} draws, keeps {stage.keep}"
        else:
            yield f"{stage.name}: {step_in_words(stage, pipeline.runtime)}{_length(stage)}"
    for text, models in evaluations.items():
        yield f"evaluate {', '.join(models)}: {text}"


def step_in_words(stage: SftStage | DpoStage | GrpoStage, runtime: Runtime) -> str:
    """Return what one optimizer step takes: "one SFT step = 32 rows = 2 ranks x 4 rows x 4 accumulation steps"."""
    unit = UNITS[stage.kind]
    accumulation = stage.batch_size // (runtime.micro_batch_size * runtime.processes)
    ranks = "1 rank" if runtime.processes == 1 else f"{runtime.processes} ranks"
    steps = "1 accumulation step" if accumulation == 1 else f"{accumulation} accumulation steps"
    step = f"one {stage.kind.upper()} step = {stage.batch_size} {unit}"
    if isinstance(stage, GrpoStage):
        group = stage.trainer.get("num_generations", default("grpo", "num_generations"))
        step += f" = {stage.batch_size // int(group)} prompts x {group} completions"
    return f"{step} = {ranks} x {runtime.micro_batch_size} {unit} x {steps}"


def _length(stage: SftStage | DpoStage | GrpoStage) -> str:
    """Say how many steps there are and how often they see the data, as far as the config tells."""
    steps = int(stage.trainer.get("max_steps", default(stage.kind, "max_steps")))
    epochs = float(stage.trainer.get("num_train_epochs", default(stage.kind, "num_train_epochs")))
    rows = num_rows(stage.data)
    per_step: float = stage.batch_size
    if isinstance(stage, GrpoStage):
        per_step /= int(stage.trainer.get("num_generations", default("grpo", "num_generations")))
        per_step /= int(stage.trainer.get("num_iterations", default("grpo", "num_iterations")))
    what = _rows_in_words(stage.data, "prompts" if isinstance(stage, GrpoStage) else UNITS[stage.kind])
    if steps > 0:
        share = f" = {steps * per_step / rows:.1f} epochs of {what}" if rows else f" over {what}"
        return f"; {steps} steps{share}"
    about = f" = about {round(epochs * rows / per_step)} steps" if rows else ""
    return f"; {epochs:g} {'epoch' if epochs == 1 else 'epochs'} of {what}{about}"


def _evaluation(pipeline: Pipeline, stage: EvaluateStage) -> str:
    suites = " + ".join(f"{name} {pipeline.suites[name].items}" for name in stage.suites)
    drawn = f" and {stage.draws} draws at temperature {stage.temperature:g}" if stage.draws else ""
    return f"{suites} items, greedy{drawn}, up to {stage.max_completion_length} tokens"


def num_rows(block: DataBlock) -> int | None:
    """Return how many rows the config promises; None where only the data can tell."""
    rows = None if block.generator is None else block.generator.rows
    if rows is None:
        return None
    return rows if block.limit is None else min(rows, block.limit)


def _rows_in_words(block: DataBlock, unit: str) -> str:
    rows = num_rows(block)
    if rows is not None:
        return f"{rows:,} {unit}"
    where = {"stage": f"stage {block.stage}", "path": f"{block.path}", "hub": f"{block.hub}"}[block.source]
    return f"the first {block.limit:,} {unit} of {where}" if block.limit else f"the {unit} of {where}"
