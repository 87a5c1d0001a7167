"""How models are measured: the decoding fields shared by the `evaluate:` block and stages of kind evaluate."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from training.config.block import Block, Count, Dtype, PositiveProbability, Temperature
from training.config.generalisation import Generalisation
from training.config.stage_parts import ToolSpec


class Decoding(Block):
    """Greedy decoding on suites, and optionally n draws per item for sampled pass@1, pass@k and maj@k."""

    suites: list[str] = Field(
        default_factory=list, description="Names of suites to measure on; none is accepted beside benchmarks."
    )
    max_completion_length: Count = Field(default=128, description="Longest completion, in tokens.")
    draws: int = Field(default=0, ge=0, description="0 decodes greedily only; n > 0 also draws n samples per item.")
    temperature: Temperature = Field(default=1.0, description="Sampling temperature of the draws.")
    top_p: PositiveProbability = Field(default=1.0, description="Nucleus of the draws; 1.0 keeps every token.")
    k: list[Annotated[int, Field(ge=1)]] = Field(
        default_factory=list, description="Report pass@k and maj@k for these k, each at most draws."
    )
    dtype: Dtype = Field(default="float32", description="Precision of the weights while decoding.")
    batch_size: Count = Field(default=64, description="Rows decoded together per rank; changes no result.")
    benchmarks: list[str] = Field(default_factory=list, description="Names of benchmarks to measure on as well.")
    tools: list[ToolSpec] = Field(
        default_factory=list, description="Functions that the model may call while it answers (docs/tools.md)."
    )
    max_tool_calling_iterations: Count | None = Field(
        default=None, description="tools only: most rounds of calls in one completion; null lets its length decide."
    )
    generalisation: Generalisation | None = Field(
        default=None,
        description="Also measure whether the model generalises or recalls (docs/evaluation.md); null does not.",
    )

    @model_validator(mode="after")
    def something_is_measured(self) -> Decoding:
        if not self.suites and not self.benchmarks:
            raise ValueError("measures nothing; name suites, benchmarks or both")
        return self


class EvaluateBlock(Decoding):
    """`evaluate:` at the top level: one stage of kind evaluate for the base and one after every model-making stage."""
