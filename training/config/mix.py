"""Rules of a mixture of sources (`data: {mix: [...]}`) and of rows held out (`validation:`)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from training.config.block import Block, Count

AT_THE_MIXTURE = (
    *("mix", "mix_rows", "dedup", "near_threshold", "decontaminate", "difficulty", "validation", "max_prompt_tokens"),
)
"""Keys that hold for the whole mixture and stand beside `mix`, not in one of its sources."""

IN_THE_SOURCES = ("format", "columns", "max_bad_rows", "license")
"""Keys that say how one source is read and stand in it, not beside `mix`."""


class Validation(Block):
    """Rows held out by a hash of their prompt, so that a prompt is never in both parts.

    Stages of kind pretrain, sft, dpo and reward_model report the loss on them (`eval_loss`).
    """

    share: Annotated[float, Field(gt=0.0, le=0.5)] = Field(
        description="Share of the prompts held out, in expectation; every row of such a prompt is."
    )
    every: Literal["epoch"] | Count = Field(
        default="epoch",
        description="When the loss on them is measured: after every epoch, or so many optimizer steps; and at the end.",
    )
    seed: int | None = Field(
        default=None,
        ge=0,
        description="Which prompts are held out; null derives it from the pipeline's seed and the stage's name, so "
        "that two stages hold out different ones. Give stages whose losses are compared the same.",
    )

    def split_seed(self, derived: int) -> int:
        """Return the seed of the split; `derived` is the one of the stage's data."""
        return derived if self.seed is None else self.seed


def mixture_mistakes(block: Any) -> list[str]:
    """Return what is wrong with the mixture of a data block: every sentence names the key and the fix."""
    if block.mix is None:
        return [] if block.mix_rows is None else ["mix_rows counts the rows of a mixture; give mix, or write limit"]
    found = [f"{key} belongs in the sources of mix" for key in IN_THE_SOURCES if key in block.model_fields_set]
    for number, part in enumerate(block.mix):
        set_here = part.model_fields_set
        misplaced = [key for key in AT_THE_MIXTURE if key in set_here]
        found += [f"mix.{number}: {key} holds for all rows; write it beside mix" for key in misplaced]
        if part.weight is not None and part.rows is not None:
            found.append(f"mix.{number}: give a weight or rows, not both")
    weighted = [part.weight is not None for part in block.mix]
    if any(weighted) and not all(weighted):
        found.append("mix: weights are shares of the whole; give every source one, or none")
    if block.mix_rows is not None and not any(weighted):
        found.append("mix_rows divides rows by weights; give every source of mix a weight, or remove it")
    return found
