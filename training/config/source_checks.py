"""Rules of where rows and files come from: a stage's data fits its kind, and every file named is there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from data.errors import UserError
from data.files import data_files
from data.formats.table import FORMATS
from data.home import from_home
from data.own_functions import source_file
from data.own_rows import KEY
from training.config.chat_templates import chat_template_path, shipped_chat_templates
from training.config.cross_checks import Finding, decodings
from training.config.data_blocks import PURPOSES, DataBlock
from training.config.data_cleaning import SUITES
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import SampleStage, Stage
from training.config.suggest import nearest

SMALL_BYTES = 4096
"""Above it a file is not read to see whether all of it is white space."""
HUB_NAME = re.compile(r"^[\w.-]+/[\w.-]+@[\w./-]+$")


def data_stages_are_earlier_samples_of_the_right_kind(pipeline: Pipeline) -> Iterator[Finding]:
    """`data: stage:NAME` names a sample stage that stands before, and what it keeps is what this kind trains on."""
    samples: dict[str, SampleStage] = {}
    kinds = {stage.name: stage.kind for stage in pipeline.stages}
    for index, stage in enumerate(pipeline.stages):
        for at, block in _sources(index, stage):
            name = block.stage
            if name is None:
                continue
            if name in samples:
                yield from ((at, text) for text in _unfit(stage, samples[name]))
            elif name in kinds and kinds[name] != "sample":
                yield at, f"{name} is a stage of kind {kinds[name]}; rows come from stages of kind sample"
            else:
                reason = "stands later" if name in kinds else "does not exist"
                known = ", ".join(samples) or "none"
                yield at, f"the stage {name} {reason}{nearest(name, samples)}; the sample stages before it are {known}"
        if isinstance(stage, SampleStage):
            samples[stage.name] = stage


def generators_make_what_the_stage_trains_on(pipeline: Pipeline) -> Iterator[Finding]:
    """A generator makes so many prompts with answers, and for sft the assistant's text."""
    for index, stage in enumerate(pipeline.stages):
        for place, block in _sources(index, stage):
            at: KeyPath = (*place, "generator")
            generator = block.generator
            if generator is None:
                continue
            if generator.rows is None:
                yield (*at, "rows"), "is missing; say how many rows to make"
            if PURPOSES[stage.kind] == "preference":
                yield at, "makes no pairs; train on what a stage of kind sample kept (data: stage:NAME)"
            elif stage.kind == "pretrain":
                yield at, "makes questions, no text; give rows with a `text` column or .txt files (data.path)"
            elif stage.kind == "sft" and generator.completions is None:
                yield (*at, "completions"), "is missing; sft needs assistant text: worked or bare"
            elif stage.kind != "sft" and generator.completions is not None:
                yield (*at, "completions"), f"does nothing in a stage of kind {stage.kind}; remove it"


def text_has_no_prompts(pipeline: Pipeline) -> Iterator[Finding]:
    """Raw text is trained on whole: nothing that goes by prompts is asked of it."""
    for index, stage in _stages(pipeline):
        for at, block in _sources(index, stage):
            if stage.kind == "pretrain" and block.max_prompt_tokens is not None:
                yield (*at, "max_prompt_tokens"), "text has no prompt; remove it"
            if stage.kind == "pretrain" and block.difficulty is not None:
                yield (*at, "difficulty"), "text has no prompt; remove it"


def suites_have_items_of_their_own(pipeline: Pipeline) -> Iterator[Finding]:
    """A suite's items come from a generator, a file or the hub, and `items` says how many."""
    for name, suite in pipeline.suites.items():
        at: KeyPath = ("suites", name, "data")
        if suite.data.stage is not None:
            yield at, "a suite cannot be made of a stage's rows; use generator, path or hub"
        if suite.data.limit is not None:
            yield (*at, "limit"), "does nothing in a suite; write the suite's items"
        if suite.data.max_prompt_tokens is not None:
            yield (*at, "max_prompt_tokens"), "does nothing in a suite, whose items are the same for every model"
        if suite.data.mix is not None or suite.data.validation is not None:
            yield at, "a suite has one source and holds nothing out; remove mix and validation"
        if suite.data.cleans:
            yield at, "dedup and decontaminate do nothing in a suite; write them where stages train"
        if suite.data.generator is None:
            continue
        if suite.data.generator.rows is not None:
            yield (*at, "generator", "rows"), "does nothing in a suite; write the suite's items"
        if suite.data.generator.completions is not None:
            yield (*at, "generator", "completions"), "does nothing in a suite; remove it"


def contamination_is_of_something(pipeline: Pipeline) -> Iterator[Finding]:
    """`decontaminate` against "suites" has suites or benchmarks to compare with: some evaluation names them."""
    if any(True for _ in decodings(pipeline)):
        return
    for at, block in data_blocks(pipeline):
        if block.decontaminate is not None and SUITES in block.decontaminate.against:
            yield (
                (*at, "decontaminate"),
                'compares with the suites and benchmarks of evaluations ("suites"), and this pipeline evaluates '
                "nothing; add evaluate, name files under against, or remove it",
            )


def files_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """Data files are there and not empty; chat templates and the DeepSpeed file are there."""
    for at, block in data_blocks(pipeline):
        if block.path is not None:
            yield from (((*at, "path"), text) for text in _without_rows(block.path))
        for number, path in enumerate([] if block.decontaminate is None else block.decontaminate.against):
            if path != SUITES:
                yield from (((*at, "decontaminate", "against", number), text) for text in _without_rows(path))
    deepspeed = pipeline.runtime.deepspeed_config
    if deepspeed is not None and not from_home(deepspeed).is_file():
        yield ("runtime", "deepspeed_config"), f"there is no such file (looked in {Path.cwd()})"
    templates: list[tuple[KeyPath, str | None]] = [(("chat_template",), pipeline.chat_template)]
    templates += [(("stages", index, "chat_template"), stage.chat_template) for index, stage in _stages(pipeline)]
    for at, value in templates:
        if value is not None and chat_template_path(value) is None:
            shipped = ", ".join(shipped_chat_templates()) or "none"
            yield at, f"is neither a file nor a shipped chat template; shipped: {shipped}"


def _without_rows(place: str) -> Iterator[str]:
    """Why a file or folder cannot have rows, as far as a look at its size tells."""
    path = from_home(place)
    if not path.exists():
        yield f"there is no such file or folder (looked in {Path.cwd()})"
        return
    try:
        files = data_files(path)
    except UserError as error:
        yield str(error)
        return
    if all(file.stat().st_size <= SMALL_BYTES and file.read_bytes().strip() in (b"", b"[]") for file in files):
        yield "has no rows; give data with at least one"


def callables_are_found(pipeline: Pipeline) -> Iterator[Finding]:
    """A callable's module has a file, and the function stands at its top level; nothing is imported."""
    for at, block in data_blocks(pipeline):
        if block.callable is not None:
            try:
                source_file(block.callable, KEY)
            except UserError as error:
                yield (*at, "callable"), str(error)


def formats_serve_the_stage(pipeline: Pipeline) -> Iterator[Finding]:
    """A declared format has what the stage's kind trains on."""
    for index, stage in _stages(pipeline):
        for at, block in _sources(index, stage):
            if block.format is not None and PURPOSES[stage.kind] not in FORMATS[block.format].serves:
                serving = ", ".join(each.name for each in FORMATS.values() if PURPOSES[stage.kind] in each.serves)
                yield (*at, "format"), f"gives no rows for a stage of kind {stage.kind}; use one of {serving}"


def hub_names_have_a_revision(pipeline: Pipeline) -> Iterator[Finding]:
    """Hub data and models name the commit or branch they mean; any other model is bundled or a folder."""
    for at, block in data_blocks(pipeline):
        if block.hub is not None and not HUB_NAME.match(block.hub):
            yield (*at, "hub"), 'must be "org/name@commit-or-branch"'
    model = pipeline.model
    if model.startswith("bundled:") or from_home(model).is_dir() or HUB_NAME.match(model):
        return
    yield ("model",), 'is no folder; write "bundled:NAME", "org/name@commit-or-branch" or the path of a model folder'


def data_blocks(pipeline: Pipeline) -> Iterator[tuple[KeyPath, DataBlock]]:
    """Yield every data block with its key path."""
    for name, suite in pipeline.suites.items():
        yield ("suites", name, "data"), suite.data
    for index, stage in _stages(pipeline):
        block = getattr(stage, "data", None)
        if block is not None:
            yield ("stages", index, "data"), block
            if block.mix is not None:
                yield from _sources(index, stage)


def _sources(index: int, stage: Stage) -> Iterator[tuple[KeyPath, DataBlock]]:
    """Yield the sources of a stage's rows with their key paths: those of its mixture, or its data block."""
    block: DataBlock | None = getattr(stage, "data", None)
    at: KeyPath = ("stages", index, "data")
    if block is None:
        return
    if block.mix is None:
        yield at, block
        return
    for number, part in enumerate(block.mix):
        yield (*at, "mix", number), part


def _stages(pipeline: Pipeline) -> Iterator[tuple[int, Stage]]:
    return iter(enumerate(pipeline.stages))


_KEPT = {"pairs": "pairs", "best": "the best completion", "prompts": "prompts"}


def _unfit(stage: Stage, sample: SampleStage) -> Iterator[str]:
    if PURPOSES[stage.kind] == "preference" and sample.keep != "pairs":
        yield f"{sample.name} keeps {_KEPT[sample.keep]}; {stage.kind} needs keep: pairs there"
    if stage.kind == "pretrain":
        yield f"{sample.name} keeps {_KEPT[sample.keep]}, no text; pretrain reads rows with a `text` column"
    if stage.kind == "sft" and sample.keep != "best":
        yield f"{sample.name} keeps {_KEPT[sample.keep]}; sft needs keep: best there"
