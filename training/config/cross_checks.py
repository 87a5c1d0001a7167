"""Rules that span several fields, each a function named as the sentence that must hold.

They see the pipeline as written (before `evaluate:` is expanded) and yield (key path, what is wrong and the fix).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator

from training.config.decoding import Decoding
from training.config.document import KeyPath
from training.config.expand import BASE, evaluation_name
from training.config.pipeline import Pipeline
from training.config.scorers import JUDGE, REWARD_MODEL
from training.config.stages import MODEL_KINDS, EvaluateStage, GrpoStage, MergeStage, SampleStage, Stage
from training.config.suggest import nearest

Finding = tuple[KeyPath, str]
Rule = Callable[[Pipeline], Iterator[Finding]]


def stage_names_are_unique(pipeline: Pipeline) -> Iterator[Finding]:
    """Two stages never share a name, and none takes the base's or one that `evaluate:` gives."""
    made: dict[str, str] = {BASE: "the base model"}
    if pipeline.evaluate is not None:
        models = [BASE, *(stage.name for stage in pipeline.stages if stage.kind in MODEL_KINDS)]
        made |= {evaluation_name(model): "a stage that the evaluate block makes" for model in models}
    for index, stage in enumerate(pipeline.stages):
        if stage.name in made:
            yield ("stages", index, "name"), f"is the name of {made[stage.name]}; choose another"
        made[stage.name] = "an earlier stage"


def parents_are_earlier_models(pipeline: Pipeline) -> Iterator[Finding]:
    """`from` (and a merge's `base`) names the base or a stage that stands before and leaves a model."""
    earlier = [BASE]
    names = {stage.name: stage.kind for stage in pipeline.stages}
    for index, stage in enumerate(pipeline.stages):
        for key, name in named_models(stage):
            if name in earlier:
                continue
            reason = "no stage has this name"
            if name in names:
                no_model = f"a {names[name]} stage leaves no model to start from"
                reason = "that stage stands later" if names[name] in MODEL_KINDS else no_model
            hint = nearest(name, earlier)
            yield ("stages", index, *key), f"{reason}{hint}; the models before it are {', '.join(earlier)}"
        if stage.kind in MODEL_KINDS:
            earlier.append(stage.name)


def named_models(stage: Stage) -> Iterator[tuple[KeyPath, str]]:
    """Yield each model that a stage names, with the key it stands under."""
    if isinstance(stage, MergeStage):
        yield from ((("from", position), name) for position, name in enumerate(stage.from_))
        yield from ((("base",), name) for name in [stage.base] if name is not None)
    elif stage.from_ is not None:
        yield ("from",), stage.from_


def suites_are_known(pipeline: Pipeline) -> Iterator[Finding]:
    """Every suite that is measured on stands under `suites`."""
    for at, decoding in decodings(pipeline):
        yield from unknown_names((*at, "suites"), decoding.suites, pipeline.suites)


def unknown_names(at: KeyPath, names: Iterable[str], known: Collection[str]) -> Iterator[Finding]:
    """Names in the list at `at`, whose last key is the word for them, that are not among the known."""
    words = str(at[-1])
    there = ", ".join(known) or "none"
    for position, name in enumerate(names):
        if name not in known:
            hint = nearest(name, known)
            yield (*at, position), f"no {words.removesuffix('s')} has this name{hint}; the {words} are {there}"


def draws_serve_every_k_and_are_used(pipeline: Pipeline) -> Iterator[Finding]:
    """pass@k and maj@k need at least k draws, and sampling settings need any."""
    for at, decoding in decodings(pipeline):
        for position, k in enumerate(decoding.k):
            if k > decoding.draws:
                yield (*at, "k", position), f"needs at least {k} draws; draws is {decoding.draws}"
        for name in ("temperature", "top_p"):
            if decoding.draws == 0 and name in decoding.model_fields_set:
                yield (*at, name), "does nothing with draws: 0, which decodes greedily; set draws or remove it"


def gates_name_a_measured_suite(pipeline: Pipeline) -> Iterator[Finding]:
    """A gate is decided on a suite that the `evaluate:` block measures."""
    for index, stage in enumerate(pipeline.stages):
        gate = getattr(stage, "gate", None)
        if gate is None:
            continue
        at: KeyPath = ("stages", index, "gate", "suite")
        if pipeline.evaluate is None:
            yield at, "a gate needs the top level's evaluate block, which measures this suite for every model"
        elif gate.suite not in measured_names(pipeline):
            measured = measured_names(pipeline)
            hint = nearest(gate.suite, measured)
            yield at, f"the evaluate block does not measure this suite{hint}; it measures {', '.join(measured)}"


def measured_names(pipeline: Pipeline) -> list[str]:
    """What the `evaluate:` block measures by the names that a gate may use: suites, benchmarks and their tasks."""
    block = pipeline.evaluate
    if block is None:
        return []
    known = [(name, pipeline.benchmarks[name]) for name in block.benchmarks if name in pipeline.benchmarks]
    return [*block.suites, *(score for name, benchmark in known for score in benchmark.scores(name))]


def rewards_are_named_once_and_signals_are_rewards(pipeline: Pipeline) -> Iterator[Finding]:
    """A reward stands once in a stage, and `signal` names rewards of its stage."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, GrpoStage | SampleStage):
            continue
        names = [reward.name for reward in stage.rewards]
        for position, name in enumerate(names):
            if name in names[:position]:
                yield ("stages", index, "rewards", position), f"the reward {name} stands twice; keep one"
        for position, name in enumerate(stage.signal if isinstance(stage, GrpoStage) else []):
            beside = ((REWARD_MODEL, stage.reward_model), (JUDGE, stage.judge))
            known = [*names, *(each for each, block in beside if block is not None)]
            if name not in known:
                hint = nearest(name, known)
                yield ("stages", index, "signal", position), f"is not among the rewards {', '.join(known)}{hint}"


def repeated_suites_are_refused(pipeline: Pipeline) -> Iterator[Finding]:
    """A list of suites names each once."""
    for at, decoding in decodings(pipeline):
        for name, times in Counter(decoding.suites).items():
            if times > 1:
                yield (*at, "suites"), f"names {name} {times} times; once is enough"


def decodings(pipeline: Pipeline) -> Iterator[tuple[KeyPath, Decoding]]:
    """Yield every block that says how models are measured, with its key path."""
    if pipeline.evaluate is not None:
        yield ("evaluate",), pipeline.evaluate
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, EvaluateStage):
            yield ("stages", index), stage


RULES: tuple[Rule, ...] = (
    stage_names_are_unique,
    parents_are_earlier_models,
    suites_are_known,
    repeated_suites_are_refused,
    draws_serve_every_k_and_are_used,
    gates_name_a_measured_suite,
    rewards_are_named_once_and_signals_are_rewards,
)
