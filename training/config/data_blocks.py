"""Where rows come from: the `data:` block of a stage or a suite, its generator, and the suites themselves."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, field_validator, model_validator

from data.formats.table import FORMATS
from training.config.block import Block, Count, Probability
from training.config.data_cleaning import Cleaning
from training.config.difficulty import Difficulty
from training.config.mix import Validation, mixture_mistakes
from training.config.place import Place
from training.config.scorers import stage_named
from training.config.suggest import nearest

SOURCES = ("generator", "path", "hub", "callable", "stage", "mix")

PURPOSES = {
    "pretrain": "text",
    "sft": "sft",
    "dpo": "preference",
    "grpo": "prompt",
    "reward_model": "preference",
    "sample": "prompt",
}
"""Stage kind -> what its rows are for (`data.formats.convert`)."""

Column = Literal[
    "messages",
    "conversations",
    "prompt",
    "system",
    "instruction",
    "input",
    "question",
    "options",
    "completion",
    "output",
    "label",
    "chosen",
    "rejected",
    "answer",
    "text",
]
"""The columns by which formats are known, as far as other names for them occur."""


def known_format(name: str) -> str:
    """Return `name` if it is a row format."""
    if name not in FORMATS:
        raise ValueError(f"is no row format{nearest(name, FORMATS)}; use one of {', '.join(FORMATS)}")
    return name


Format = Annotated[str, AfterValidator(known_format), Field(json_schema_extra={"enum": list(FORMATS)})]


class Generator(Block):
    """Rows made by a seeded task generator; nothing is downloaded."""

    name: Literal["reasoning_gym"] = Field(description="The package that makes the tasks.")
    families: dict[str, dict[str, Any]] = Field(
        min_length=1, description="Task families, each with its own parameters (`{}` for the defaults); equal shares."
    )
    rows: Count | None = Field(
        default=None, description="How many rows, over all families; a suite says items in place of it."
    )
    seed: int | None = Field(
        default=None, description="Seed of the tasks; null derives one from the pipeline's seed and the owner's name."
    )
    completions: Literal["worked", "bare", "tool_calls"] | None = Field(
        default=None,
        description="sft only: build the assistant's text, with short working (worked) or the tagged answer alone "
        "(bare), or a conversation with the calculator (tool_calls); null leaves rows without one.",
    )

    @field_validator("families", mode="before")
    @classmethod
    def a_family_without_parameters_takes_its_defaults(cls, families: Any) -> Any:
        if not isinstance(families, dict):
            return families
        return {family: {} if parameters is None else parameters for family, parameters in families.items()}


class DataBlock(Cleaning):
    """Rows of one source: a generator, files, a hub data set, a function, or what an earlier `sample` stage kept."""

    generator: Generator | None = Field(default=None, description="Make the rows with a seeded generator.")
    path: Place | None = Field(
        default=None,
        description="A json, jsonl, csv, parquet or (for pretrain) txt file, also as .gz or .zst, a folder of them, or "
        "the folder of a finished sample stage; relative to the working directory.",
    )
    hub: str | None = Field(default=None, description='A hub data set, "org/name@commit-or-branch".')
    callable: str | None = Field(
        default=None,
        description='A function that returns or yields rows, "package.module:function"; it must give the same ones '
        "each time.",
    )
    stage: str | None = Field(default=None, description="The name of an earlier stage of kind sample.")
    mix: list[MixPart] | None = Field(
        default=None, min_length=2, description="Several sources in one, each with a weight or a number of rows."
    )
    mix_rows: Count | None = Field(
        default=None,
        description="mix with weights only: rows of one epoch, repeating a source's rows where it has too few; null is "
        "as many as need no repetition.",
    )
    split: str = Field(default="train", description="hub only: the split to read.")
    subset: str | None = Field(default=None, description="hub only: the subset (configuration) to read.")
    streaming: bool = Field(
        default=False, description="hub only: fetch no more than the first `limit` rows in place of the whole split."
    )
    version: Count | None = Field(
        default=None,
        description="callable only: your version of the function; raise it when its rows change by something that its "
        "file does not show.",
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="callable only: keyword arguments.")
    format: Format | None = Field(
        default=None, description="The format of the rows (docs/data.md); null recognises it by the columns."
    )
    columns: dict[Column, str] = Field(
        default_factory=dict, description="Our column name -> the data's, for each column spelled otherwise."
    )
    max_bad_rows: Probability = Field(
        default=0.0,
        description="Share of rows that may be dropped as bad (broken, empty, wrong roles), each counted and listed; 0 "
        "stops at the first one.",
    )
    license: str | None = Field(
        default=None, description="The licence of the rows, for the record; null takes what the source says."
    )
    limit: Count | None = Field(default=None, description="Use the first so many rows; null uses all.")
    max_prompt_tokens: Count | None = Field(
        default=None, description="Drop, and count, rows whose rendered prompt has more tokens; null keeps all."
    )
    max_flagged_rows: Probability = Field(
        default=0.05,
        description="Greatest share of rows that the data doctor may flag after tokenisation (no trained token, an end "
        "of turn that is not trained, two BOS, ...); with more the stage does not start.",
    )

    difficulty: Difficulty | None = Field(
        default=None, description="Keep prompts of some pass rates only; null keeps all."
    )
    validation: Validation | None = Field(
        default=None, description="Hold rows out of training, by a hash of their prompt; null holds out none."
    )

    @model_validator(mode="before")
    @classmethod
    def a_plain_string_names_a_stage(cls, block: Any) -> Any:
        if not isinstance(block, str):
            return block
        if not block.startswith("stage:"):
            raise ValueError('a plain string must be "stage:NAME"; otherwise write a mapping with one of ' + _SOURCES)
        return {"stage": block.removeprefix("stage:").strip()}

    @model_validator(mode="after")
    def exactly_one_source_is_given(self) -> DataBlock:
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) if given else "none"
            raise ValueError(f"needs exactly one source of {_SOURCES}; found {found}")
        return self

    @model_validator(mode="after")
    def split_and_subset_belong_to_hub_data(self) -> DataBlock:
        if self.hub is None and (self.subset is not None or self.split != "train"):
            raise ValueError("split and subset choose a part of hub data and do nothing here; remove them")
        return self

    @model_validator(mode="after")
    def streaming_reads_a_limited_part_of_the_hub(self) -> DataBlock:
        if self.streaming and (self.hub is None or self.limit is None):
            raise ValueError("streaming fetches the first `limit` rows of hub data; give hub and limit, or remove it")
        return self

    @model_validator(mode="after")
    def version_and_arguments_belong_to_a_callable(self) -> DataBlock:
        if self.callable is None and (self.version is not None or self.arguments):
            raise ValueError("version and arguments belong to a callable and do nothing here; remove them")
        if self.callable is not None and self.version is None:
            raise ValueError("a callable needs a version: 1, to be raised when its rows change by more than its file")
        return self

    @model_validator(mode="after")
    def a_mixture_is_of_sources(self) -> DataBlock:
        if mistakes := mixture_mistakes(self):
            raise ValueError("; ".join(mistakes))
        return self

    @property
    def sources(self) -> list[DataBlock]:
        """The sources of the rows: those of the mixture, or the block itself."""
        return [self] if self.mix is None else list(self.mix)

    @property
    def stages(self) -> list[str]:
        """The stages whose rows it reads, and the one that measured their difficulty, each once, in order."""
        measured_by = [] if self.difficulty is None else [stage_named(self.difficulty.measured_by)]
        named = [*(part.stage for part in self.sources), *measured_by]
        return list(dict.fromkeys(name for name in named if name is not None))

    @property
    def source(self) -> str:
        """Which of the sources is given."""
        return next(name for name in SOURCES if getattr(self, name) is not None)

    @property
    def source_in_words(self) -> str:
        """The source as people read it: a path, a hub or function name, "stage pairs", "reasoning_gym"."""
        if self.generator is not None:
            return self.generator.name
        if self.mix is not None:
            return " + ".join(part.source_in_words for part in self.mix)
        return f"stage {self.stage}" if self.stage is not None else str(getattr(self, self.source))


class MixPart(DataBlock):
    """One source of a mixture; with neither weight nor rows, all its rows."""

    weight: Annotated[float, Field(gt=0.0)] | None = Field(
        default=None, description="Its share of the mixture, relative to the weights of the others."
    )
    rows: Count | None = Field(
        default=None, description="So many of its rows in an epoch, drawn by the seed; more than it has repeats them."
    )


DataBlock.model_rebuild()


class Suite(Block):
    """A set of evaluation tasks: every model is measured on the same items."""

    data: DataBlock = Field(description="Where the items come from; they need an answer.")
    items: Count = Field(default=128, description="How many items.")
    exclude_training_prompts: bool = Field(
        default=True,
        description="Replace an item that some stage trains on or chooses by (probe.keep_best), and count it.",
    )


_SOURCES = ", ".join(SOURCES)
