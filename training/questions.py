"""Which prompts of a pipeline are taken: trained on, or asked by a probe that decides which model a stage leaves.

An evaluation asks neither, a probe none that its model was trained on.
"""

from collections.abc import Collection, Iterable
from typing import Any

from data.formats import normalise
from data.sources import load_rows
from data.suites import suite_items
from training.config.probe import Probe
from training.context import StageContext
from training.plan import data_seed, seeded_sources
from training.plan_parents import ancestors, choosing_probes


def training_prompts(context: StageContext, stages: Collection[str] | None = None) -> set[str]:
    """The text of every prompt that stages of this pipeline train on or sample from, not of rows that they leave out
    because a suite asks the same; `stages` are their names, None is all.
    """
    from data.formats import convert, prompt_texts
    from training.cleaning import cleaned
    from training.config.data_blocks import PURPOSES
    from training.rows import tool_use

    texts: set[str] = set()
    for stage in context.pipeline.stages:
        block = getattr(stage, "data", None)
        if block is None or (stages is not None and stage.name not in stages):
            continue
        for part, seed in seeded_sources(block, data_seed(context.pipeline, stage.name)):
            if part.stage is not None:
                continue
            rows = load_rows(part, seed, pin=context.pin)
            if block.decontaminate is not None:
                rows = convert(rows, PURPOSES[stage.kind], form=part.format, tools=tool_use(stage))
                rows = cleaned(rows, block, context.pipeline, None, context.pin)
            texts |= prompt_texts(rows.rows)
    return texts


def probe_questions(context: StageContext, stage: str, probe: Probe, suites: Iterable[str]) -> list[dict[str, Any]]:
    """What the probe of the stage named asks of `suites`: what follows the items of their evaluations.

    None that its own model was trained on; what later stages train on does not matter, so adding one changes no probe.
    """
    pipeline = context.pipeline
    trained = training_prompts(context, ancestors(pipeline, stage))
    items: list[dict[str, Any]] = []
    for name in suites:
        suite = pipeline.suites[name]
        asked = suite.model_copy(update={"items": suite.items + probe.items})
        excluded = trained if suite.exclude_training_prompts else set()
        found, _ = suite_items(name, asked, data_seed(pipeline, name), excluded, context.pin)
        items += [{**item, "suite": name} for item in found[suite.items :]]
    return items


def chosen_by(context: StageContext) -> set[str]:
    """The text of every question by which some stage chooses the model it leaves (`probe.keep_best`).

    Evaluations leave out what all stages train on, a probe what its own model was: counted from the front, both could
    come to the same questions.
    """
    chosen: set[str] = set()
    for stage, suite, probe in choosing_probes(context.pipeline):
        chosen |= {normalise(item["prompt"]) for item in probe_questions(context, stage, probe, [suite])}
    return chosen
