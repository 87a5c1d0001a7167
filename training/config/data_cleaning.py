"""What a data block leaves out of its rows: duplicates, and what the model is measured on.

All of it is off unless asked for, and part of the identity when it is (ADR 015).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from training.config.block import Block, Probability
from training.config.place import Place

SUITES = "suites"
"""The word in `against` for every suite and benchmark that the pipeline evaluates on."""


class Decontaminate(Block):
    """Drop, and count, rows that share n-grams with evaluation items; "suites" alone is short for the defaults."""

    against: list[Place] = Field(
        default=[SUITES],
        min_length=1,
        description='"suites" (all suites and benchmarks that this pipeline evaluates on) and files of rows in any '
        "format with prompts.",
    )
    ngram: Annotated[int, Field(ge=2)] = Field(
        default=13, description="Consecutive tokens that a row must share with an item of at least so many."
    )
    short_ngram: Annotated[int, Field(ge=2)] = Field(
        default=8, description="The same for shorter items; items below it are found only as a whole message."
    )
    overlap: Probability = Field(
        default=0.0, description="Least share of an item's tokens in the n-grams shared; 0 is any one n-gram."
    )

    @model_validator(mode="after")
    def short_ngrams_are_not_longer(self) -> Decontaminate:
        if self.short_ngram > self.ngram:
            raise ValueError(f"short_ngram={self.short_ngram} is longer than ngram={self.ngram}; swap them")
        return self


class Cleaning(Block):
    """The keys of a data block that leave rows out for what they say."""

    dedup: Literal["none", "exact", "near"] = Field(
        default="none",
        description="Drop, and count, all but the first of rows with the same text (exact), or of rows whose 5-grams "
        "agree as near_threshold asks (near).",
    )
    near_threshold: float = Field(
        default=0.8, ge=0.5, le=1.0, description="dedup: near only: least Jaccard similarity of the sets of 5-grams."
    )
    decontaminate: Decontaminate | None = Field(
        default=None, description="Drop, and count, rows that hold what the model is measured on; null drops none."
    )

    @model_validator(mode="before")
    @classmethod
    def a_plain_word_decontaminates_against_the_suites(cls, block: Any) -> Any:
        if isinstance(block, dict) and block.get("decontaminate") == SUITES:
            return {**block, "decontaminate": {}}
        return block

    @model_validator(mode="after")
    def a_threshold_belongs_to_near_duplicates(self) -> Cleaning:
        if "near_threshold" in self.model_fields_set and self.dedup != "near":
            raise ValueError("near_threshold does nothing without dedup: near; remove it")
        return self

    @property
    def cleans(self) -> bool:
        """Whether rows may be left out for what they say."""
        return self.dedup != "none" or self.decontaminate is not None


def against_suites(block: Decontaminate, stages: Iterable[Any]) -> list[str]:
    """Return the suites that rows are compared with: those that some stage evaluates on, if asked for."""
    if SUITES not in block.against:
        return []
    return sorted({name for stage in stages if stage.kind == "evaluate" for name in stage.suites})


def against_benchmarks(block: Decontaminate, stages: Iterable[Any]) -> list[str]:
    """Return the benchmarks that rows are compared with: those that some stage evaluates on, if asked for."""
    if SUITES not in block.against:
        return []
    return sorted({name for stage in stages if stage.kind == "evaluate" for name in stage.benchmarks})


def against_files(block: Decontaminate) -> list[str]:
    """Return the files that rows are compared with."""
    return [path for path in block.against if path != SUITES]
