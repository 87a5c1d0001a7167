"""The generated rows that stages train on, as items: what `evaluate.generalisation` asks and judges a model by.

What a stage leaves out (duplicates, rows held out, beyond a limit, too long, not drawn) is not among them. What another
stage has to decide first is not known when the base is asked: rows by its pass rates, and the draw of a mixture that
holds its rows. Such rows are asked, and each model is judged without those that it never saw.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterator
from typing import Any

from data.formats import normalise
from data.generalisation import Item, TrainedFamily
from data.sources import load_rows
from training.config.scorers import stage_named
from training.context import StageContext
from training.data_report import template_in_use
from training.identity import canonical_json
from training.mixture import MixedRows
from training.models import load_tokenizer
from training.plan import BASE, data_seed, seeded_sources
from training.rows import rows_in_limits


def families_with_rows(context: StageContext) -> list[TrainedFamily]:
    """Every (family, parameters) that stages train on, with the rows of it that they train on as far as is known."""
    parameters: dict[tuple[str, str], dict[str, Any]] = {}
    rows: dict[tuple[str, str], dict[str, Item]] = {}
    for stage in context.pipeline.stages:
        for known, row in _items(context, stage, has_run=False):
            key = (row["family"], canonical_json(known))
            parameters[key] = known
            found = rows.setdefault(key, {}).setdefault(normalise(row["prompt"]), row)
            found["stages"] = sorted({*found["stages"], stage.name})
    return [
        TrainedFamily(key[0], parameters[key], _stages_of(found.values()), tuple(found.values()))
        for key, found in rows.items()
    ]


def trained_prompts(context: StageContext, names: Collection[str]) -> set[str]:
    """The normalised prompts of every generated row that the stages with these names, which have run, worked on."""
    stages = [stage for stage in context.pipeline.stages if stage.name in names]
    return {normalise(row["prompt"]) for stage in stages for _, row in _items(context, stage, has_run=True)}


def _stages_of(rows: Collection[Item]) -> tuple[str, ...]:
    return tuple(sorted({stage for row in rows for stage in row["stages"]}))


def _items(context: StageContext, stage: Any, has_run: bool) -> Iterator[tuple[dict[str, Any], Item]]:
    """(parameters of its family, item) of each generated row that a stage works on."""
    block = getattr(stage, "data", None)
    if block is None or all(part.generator is None for part in block.sources):
        return
    seed = data_seed(context.pipeline, stage.name)
    kept = _numbers(context, stage, seed, has_run)
    for place, (part, part_seed) in enumerate(seeded_sources(block, seed)):
        if part.generator is None:
            continue
        loaded = load_rows(part, part_seed, pin=context.pin)
        for number, row in zip(loaded.numbers, loaded.rows, strict=True):
            if kept is None or number in kept[place]:
                item = {"item": f"{stage.name}/{place}/{number}", "prompt": row["prompt"], "answer": row["answer"]}
                yield part.generator.families[row["family"]], item | {"family": row["family"], "stages": []}


def _numbers(context: StageContext, stage: Any, seed: int, has_run: bool) -> list[set[int]] | None:
    """The numbers of the rows that a stage works on, by source; None where other stages have to give rows first."""
    block, pipeline = stage.data, context.pipeline
    if not has_run and any(part.stage is not None for part in block.sources):
        return None
    if not has_run and block.difficulty is not None and stage_named(block.difficulty.measured_by) is not None:
        block = block.model_copy(update={"difficulty": None})
    system = pipeline.system if stage.system is None else stage.system
    tokenizer: Any = None
    if block.max_prompt_tokens is not None:
        tokenizer = load_tokenizer(context.folder_of(BASE) / "model", template_in_use(pipeline, stage))
    asked = stage.model_copy(update={"data": block})
    usable = rows_in_limits(pipeline, asked, seed, system, tokenizer, context.folder_of, context.pin)
    starts = usable.starts if isinstance(usable, MixedRows) else (0,)
    found: list[set[int]] = [set() for _ in starts]
    for number in usable.numbers:
        source = bisect_right(starts, number) - 1
        found[source].add(number - starts[source])
    return found
