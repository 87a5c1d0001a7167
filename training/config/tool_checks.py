"""Rules of `tools:` and `environment:`: known, each once, and nothing beside them that would score or gather before the
last turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from data.errors import UserError
from data.own_functions import source_file
from training.config.cross_checks import Finding, decodings
from training.config.decoding import Decoding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.probe import Probe
from training.config.stages import GrpoStage, ModelStage, SftStage
from training.config.suggest import nearest
from training.environments import ENVIRONMENT_KEY, ENVIRONMENTS
from training.tools import KEY, TOOLS, TURNS

CALCULATOR = "calculator"


def tools_are_known_and_named_once(pipeline: Pipeline) -> Iterator[Finding]:
    """Every tool is shipped or a function that is there, and no two have the name that the model calls them by."""
    for at, block in _with_tools(pipeline):
        names = [spec.called for spec in block.tools]
        for number, spec in enumerate(block.tools):
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


def environments_are_known(pipeline: Pipeline) -> Iterator[Finding]:
    """The environment is shipped, or a class or function that is there."""
    for index, stage in enumerate(pipeline.stages):
        spec = stage.environment if isinstance(stage, GrpoStage) else None
        for number, reward in enumerate(getattr(stage, "rewards", ())):
            if reward.name == "environment" and reward.callable is None and spec is None:
                yield ("stages", index, "rewards", number), "judges an environment, and this stage has none"
        if spec is None:
            continue
        at: KeyPath = ("stages", index, "environment")
        if spec.callable is not None:
            try:
                source_file(spec.callable, ENVIRONMENT_KEY, or_class=True)
            except UserError as error:
                yield (*at, "callable"), str(error)
        elif spec.name not in ENVIRONMENTS:
            hint, shipped = nearest(str(spec.name), list(ENVIRONMENTS)), ", ".join(ENVIRONMENTS)
            yield at, f"is no environment{hint}; shipped: {shipped}; of yours: {{callable, version}}"


def tools_go_with_the_rest(pipeline: Pipeline) -> Iterator[Finding]:
    """What works on a completion's first turn alone, or wants all ranks in every turn, is refused."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, GrpoStage):
            continue
        at: KeyPath = ("stages", index)
        key = "tools" if stage.tools else "environment" if stage.environment is not None else None
        if key is not None and stage.dynamic_sampling is not None:
            yield (
                (*at, "dynamic_sampling"),
                f"scores completions before their tools are called; remove it or {key}",
            )
        if key is not None and pipeline.runtime.zero_stage == 3:
            yield (
                (*at, key),
                "ranks take different numbers of turns, and ZeRO-3 gathers the weights on all of them for each; use "
                "runtime.zero_stage: 2 or less",
            )
        if key is None and TURNS in stage.trainer:
            yield (*at, "trainer", TURNS), "counts turns with tools, and this stage has none; remove it"


def measuring_with_tools_is_of_suites(pipeline: Pipeline) -> Iterator[Finding]:
    """Benchmarks have protocols of their own, and turns are counted where there are tools."""
    for at, block in decodings(pipeline):
        if block.tools and block.benchmarks:
            yield (*at, "benchmarks"), "are measured without tools; measure them in a stage of kind evaluate of its own"
    measuring: list[tuple[KeyPath, Decoding | Probe]] = [*decodings(pipeline), *_probes(pipeline)]
    for at, measured in measuring:
        if not measured.tools and measured.max_tool_calling_iterations is not None:
            yield (*at, TURNS), "counts turns with tools, and there are none here; remove it"


def tool_answers_are_not_trained_on(pipeline: Pipeline) -> Iterator[Finding]:
    """SFT with tools learns what the assistant says, and conversations with the calculator are told of it."""
    for index, stage in enumerate(pipeline.stages):
        sources = getattr(stage, "data", None)
        at: KeyPath = ("stages", index)
        if isinstance(stage, SftStage) and stage.tools and stage.trainer.get("assistant_only_loss") is not True:
            yield (*at, "trainer", "assistant_only_loss"), "would train on what tools answer; remove it, or tools"
        for part in sources.sources if sources is not None else ():
            if part.generator is None or part.generator.completions != "tool_calls":
                continue
            if [spec.called for spec in _named(getattr(stage, "tools", []))] != [CALCULATOR]:
                place: KeyPath = (*at, "tools")
                yield place, "must be [calculator], which the rows of completions: tool_calls call"


def _with_tools(pipeline: Pipeline) -> Iterator[tuple[KeyPath, Any]]:
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, GrpoStage) or (isinstance(stage, SftStage) and stage.tools != "rows"):
            yield ("stages", index), stage
    yield from decodings(pipeline)
    yield from _probes(pipeline)


def _probes(pipeline: Pipeline) -> Iterator[tuple[KeyPath, Probe]]:
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, ModelStage) and stage.probe is not None:
            yield ("stages", index, "probe"), stage.probe


def _named(tools: Any) -> list[Any]:
    return [] if tools == "rows" else tools


RULES = (
    tools_are_known_and_named_once,
    environments_are_known,
    tools_go_with_the_rest,
    measuring_with_tools_is_of_suites,
    tool_answers_are_not_trained_on,
)
