"""`evaluate.generalisation`: does what was trained carry over, or are rows recalled?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from training.config.block import Block, Count
from training.config.data_blocks import DataBlock

if TYPE_CHECKING:
    from training.config.stages import Stage

NAME = "generalisation"
"""Its block in an evaluation's metrics, and so no name for a suite beside it."""

Families = dict[str, dict[str, Any]]


class Generalisation(Block):
    """Ask trained rows, the same reworded, fresh and harder instances, and families never trained on."""

    items: Count = Field(
        default=64, description="Items of each of the five parts; fewer where rows or families run out."
    )
    harder: Families = Field(
        default_factory=dict,
        description="Trained family -> parameters of its harder instances; a family not named here is raised to the "
        "next level of reasoning-gym's own curriculum.",
    )
    unseen: Families | None = Field(
        default=None,
        min_length=1,
        description="Families that no stage trains on, with their parameters; null takes those of six easy ones that "
        "none trains on.",
    )

    @field_validator("harder", "unseen", mode="before")
    @classmethod
    def a_family_without_parameters_takes_its_defaults(cls, families: Any) -> Any:
        if not isinstance(families, dict):
            return families
        return {family: {} if parameters is None else parameters for family, parameters in families.items()}


def generated_sources(stages: list[Stage]) -> Iterator[tuple[str, int, DataBlock]]:
    """Yield (stage, number of the source, source) of every generator that stages train on or sample from."""
    for stage in stages:
        block = getattr(stage, "data", None)
        for number, part in enumerate([] if block is None else block.sources):
            if part.generator is not None:
                yield stage.name, number, part


def trained_families(stages: list[Stage]) -> dict[str, list[dict[str, Any]]]:
    """Return every family that stages train on, with the different parameters it is trained with, in order."""
    found: dict[str, list[dict[str, Any]]] = {}
    for _, _, part in generated_sources(stages):
        assert part.generator is not None
        for family, parameters in part.generator.families.items():
            known = found.setdefault(family, [])
            if parameters not in known:
                known.append(parameters)
    return found
