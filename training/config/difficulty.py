"""`data.difficulty`: keep the prompts that a model answers neither always nor never."""

from __future__ import annotations

from pydantic import Field, model_validator

from training.config.block import Block, Probability
from training.config.place import Place


class Difficulty(Block):
    """Drop, and count, rows whose prompt is too easy or too hard, by the pass rates that an earlier stage measured."""

    at_least: Probability = Field(default=0.0, description="Least pass rate of a row's prompt; below it is too hard.")
    at_most: Probability = Field(default=1.0, description="Greatest pass rate; above it is too easy.")
    measured_by: Place | None = Field(
        default=None,
        min_length=1,
        description='"stage:NAME" of an earlier sample stage, or grpo stage with dynamic_sampling, over the same '
        "prompts, or a file of rows with a prompt and a pass_rate; null reads the rows' own pass_rate, which a sample "
        "stage leaves in what it keeps.",
    )

    @model_validator(mode="after")
    def some_pass_rates_are_kept(self) -> Difficulty:
        if self.at_least > self.at_most:
            raise ValueError(f"at_least={self.at_least:g} exceeds at_most={self.at_most:g}; no pass rate is between")
        if self.at_least == 0.0 and self.at_most == 1.0:
            raise ValueError("every pass rate lies between 0 and 1; give at_least or at_most, or remove difficulty")
        return self
