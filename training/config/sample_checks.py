"""Rules of stages that make data or draw rollouts: what draws, what scores, what is kept, which prompts are chosen."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.errors import UserError
from data.home import from_home
from data.own_functions import source_file
from training.config.cross_checks import Finding
from training.config.data_blocks import DataBlock
from training.config.document import KeyPath
from training.config.expand import BASE
from training.config.pipeline import Pipeline
from training.config.scorers import JUDGE, REWARD_MODEL, STAGE, stage_named
from training.config.source_checks import HUB_NAME
from training.config.stages import MODEL_KINDS, GrpoStage, RewardModelStage, SampleStage
from training.config.suggest import nearest

JUDGE_KEY = "judge.callable"
_DO_NOTHING = {
    "best": {
        "min_margin": "is the margin of a pair and does nothing with keep: best; remove it",
        "rejected_at_most": "is of a pair and does nothing with keep: best; remove it",
    },
    "prompts": dict.fromkeys(
        ("min_margin", "chosen_at_least", "rejected_at_most", "rows_per_prompt"),
        "does nothing with keep: prompts, which keeps every prompt; remove it",
    ),
}


def samples_can_be_kept_as_asked(pipeline: Pipeline) -> Iterator[Finding]:
    """A pair needs two draws, thresholds leave a gap, and what a way of keeping does not use is not written."""
    for at, stage in _samples(pipeline):
        for name, words in _DO_NOTHING.get(stage.keep, {}).items():
            if name in stage.model_fields_set:
                yield (*at, name), words
        each = {"pairs": 2, "best": 1}.get(stage.keep, 0)
        if stage.keep == "pairs" and stage.draws < 2:
            yield (*at, "draws"), "a pair needs at least 2 draws"
        elif stage.rows_per_prompt * each > stage.draws and "rows_per_prompt" in stage.model_fields_set:
            yield (*at, "rows_per_prompt"), f"needs {stage.rows_per_prompt * each} draws; draws is {stage.draws}"
        least, most = stage.chosen_at_least, stage.rejected_at_most
        if stage.keep == "pairs" and least is not None and most is not None and most >= least:
            yield (*at, "rejected_at_most"), f"must be below chosen_at_least {least:g}: no answer is both"


def temperatures_each_get_a_draw(pipeline: Pipeline) -> Iterator[Finding]:
    """Draws are divided over the temperatures listed, at least one for each."""
    for at, stage in _samples(pipeline):
        if isinstance(stage.temperature, list) and len(stage.temperature) > stage.draws:
            count = len(stage.temperature)
            yield (*at, "temperature"), f"lists {count} temperatures for {stage.draws} draws; raise draws to {count}"


def draws_are_scored(pipeline: Pipeline) -> Iterator[Finding]:
    """Rewards, a reward model or a judge tell draws apart."""
    for at, stage in _samples(pipeline):
        if not stage.rewards and stage.reward_model is None and stage.judge is None:
            yield (*at, "rewards"), "must not be empty where neither reward_model nor judge scores the draws"


def judges_are_there(pipeline: Pipeline) -> Iterator[Finding]:
    """A judge is a function that is there; no reward has its name."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, SampleStage | GrpoStage) or stage.judge is None:
            continue
        try:
            source_file(stage.judge.callable, JUDGE_KEY)
        except UserError as error:
            yield ("stages", index, "judge", "callable"), str(error)
        for position, spec in enumerate(stage.rewards):
            if spec.name == JUDGE:
                yield ("stages", index, "rewards", position), f"the name {JUDGE} is the judge's; give it another"


def reward_models_are_there(pipeline: Pipeline) -> Iterator[Finding]:
    """A reward model is an earlier stage of that kind, or a model in one of the forms; no reward has its name."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, SampleStage | GrpoStage) or stage.reward_model is None:
            continue
        at: KeyPath = ("stages", index)
        # A plain string stands where the mapping's key would.
        yield from _reward_model((*at, "reward_model"), stage.reward_model.model, _earlier(pipeline, stage))
        for position, spec in enumerate(stage.rewards):
            if spec.name == REWARD_MODEL:
                yield (*at, "rewards", position), f"the name {REWARD_MODEL} is the reward model's; give it another"


def _reward_model(at: KeyPath, reference: str, earlier: dict[str, str]) -> Iterator[Finding]:
    name = stage_named(reference)
    if name is None:
        if not is_model_reference(reference):
            yield at, f'{reference!r} is no folder; write "stage:NAME", "org/name@commit-or-branch" or a model folder'
        return
    known = [stage for stage, kind in earlier.items() if kind == "reward_model"]
    if name not in known:
        reason = f"is a stage of kind {earlier[name]}" if name in earlier else "is no stage before this one"
        models = ", ".join(known) or "none"
        yield at, f"{name} {reason}{nearest(name, known)}; the reward_model stages before it are {models}"


def teachers_are_there(pipeline: Pipeline) -> Iterator[Finding]:
    """`model` names a model that is not the parent, in one of its forms, and `from` does not name another."""
    from training.bundled import BUNDLED

    for at, stage in _samples(pipeline):
        if stage.model is None:
            continue
        if stage.from_ is not None:
            yield (*at, "model"), f"names what draws, and so does from: {stage.from_}; keep one"
        name = stage_named(stage.model)
        models = [BASE, *(each for each, kind in _earlier(pipeline, stage).items() if kind in MODEL_KINDS)]
        if name is not None:
            if name not in models:
                yield (*at, "model"), f"no model has this name{nearest(name, models)}; there are {', '.join(models)}"
        elif stage.model.startswith("bundled:"):
            if stage.model.removeprefix("bundled:") not in BUNDLED:
                yield (*at, "model"), f"is not shipped; shipped: {', '.join(sorted(BUNDLED))}"
        elif not is_model_reference(stage.model):
            yield (*at, "model"), 'is no folder; write "bundled:NAME", "org/name@commit", a folder or "stage:NAME"'


def difficulties_are_measured(pipeline: Pipeline) -> Iterator[Finding]:
    """`data.difficulty.measured_by` names an earlier stage that counts passes, or a file that is there."""
    for name, suite in pipeline.suites.items():
        if suite.data.difficulty is not None:
            yield ("suites", name, "data", "difficulty"), "does nothing in a suite, whose items are the same for all"
    for index, stage in enumerate(pipeline.stages):
        block: DataBlock | None = getattr(stage, "data", None)
        if block is None or block.difficulty is None:
            continue
        at: KeyPath = ("stages", index, "data", "difficulty", "measured_by")
        reference = block.difficulty.measured_by
        named = stage_named(reference)
        if named is not None:
            before = pipeline.stages[:index]
            known = [each.name for each in before if each.kind == "sample" or getattr(each, "dynamic_sampling", None)]
            if named not in known:
                counting = ", ".join(known) or "none"
                yield (
                    at,
                    f"no sample stage, nor a grpo stage with dynamic_sampling, has this name{nearest(named, known)}; "
                    f"those before it are {counting}",
                )
        elif reference is not None and not from_home(reference).is_file():
            yield at, f'there is no such file (looked in {Path.cwd()}); "{STAGE}NAME" is a stage'


def reward_models_are_left_merged(pipeline: Pipeline) -> Iterator[Finding]:
    """A reward model is one model with its head: no adapter beside a base, no weights in four bits."""
    for index, stage in enumerate(pipeline.stages):
        if not isinstance(stage, RewardModelStage) or stage.lora is None:
            continue
        at: KeyPath = ("stages", index, "lora")
        if stage.lora.save == "adapter":
            yield (*at, "save"), "is not for a reward model, whose head belongs to its weights; use merged"
        if stage.lora.quantize is not None:
            yield (*at, "quantize"), "is not for a reward model; remove it, and the frozen weights stay whole"


def is_model_reference(reference: str) -> bool:
    """Whether a text is the path of a folder here or a hub id with its revision."""
    return from_home(reference).is_dir() or HUB_NAME.match(reference) is not None


def _samples(pipeline: Pipeline) -> Iterator[tuple[KeyPath, SampleStage]]:
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, SampleStage):
            yield ("stages", index), stage


def _earlier(pipeline: Pipeline, stage: object) -> dict[str, str]:
    """Kinds of the stages before one, by name."""
    found: dict[str, str] = {}
    for other in pipeline.stages:
        if other is stage:
            break
        found[other.name] = other.kind
    return found


RULES = (
    samples_can_be_kept_as_asked,
    temperatures_each_get_a_draw,
    draws_are_scored,
    judges_are_there,
    reward_models_are_there,
    teachers_are_there,
    difficulties_are_measured,
    reward_models_are_left_merged,
)
