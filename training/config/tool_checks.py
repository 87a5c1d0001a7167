"""Rules of `tools:`: known, each once, and nothing beside them that would score or gather before the last turn."""

from __future__ import annotations

from collections.abc import Iterator

from data.errors import UserError
from data.own_functions import source_file
from training.config.cross_checks import Finding
from training.config.pipeline import Pipeline
from training.config.stages import GrpoStage
from training.config.suggest import nearest
from training.tools import KEY, TOOLS

TURNS = "max_tool_calling_iterations"


def tools_are_known_and_named_once(pipeline: Pipeline) -> Iterator[Finding]:
    """Every tool is shipped or a function that is there, and no two have the name that the model calls them by."""
    for at, stage in _stages(pipeline):
        names = [spec.called for spec in stage.tools]
        for number, spec in enumerate(stage.tools):
            if spec.callable is not None:
                try:
                    source_file(spec.callable, KEY)
                except UserError as error:
                    yield (*at, "tools", number, "callable"), str(error)
            elif spec.name not in TOOLS:
                hint = nearest(str(spec.name), list(TOOLS))
                shipped = ", ".join(TOOLS)
                yield (*at, "tools", number), f"is no tool{hint}; shipped: {shipped}; of yours: {{callable, version}}"
            if spec.called in names[:number]:
                yield (*at, "tools", number), f"the model calls two tools {spec.called}; rename one function"


def tools_go_with_the_rest(pipeline: Pipeline) -> Iterator[Finding]:
    """What works on a completion's first turn alone, or wants all ranks in every turn, is refused."""
    for at, stage in _stages(pipeline):
        if stage.tools and stage.dynamic_sampling is not None:
            yield (
                (*at, "dynamic_sampling"),
                "scores completions before their tools are called; remove it or tools",
            )
        if stage.tools and pipeline.runtime.zero_stage == 3:
            yield (
                (*at, "tools"),
                "ranks take different numbers of turns, and ZeRO-3 gathers the weights on all of them for each; use "
                "runtime.zero_stage: 2 or less",
            )
        if not stage.tools and TURNS in stage.trainer:
            yield (*at, "trainer", TURNS), "counts turns with tools, and this stage has none; remove it"


def _stages(pipeline: Pipeline) -> Iterator[tuple[tuple[str, int], GrpoStage]]:
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, GrpoStage):
            yield ("stages", index), stage


RULES = (tools_are_known_and_named_once, tools_go_with_the_rest)
