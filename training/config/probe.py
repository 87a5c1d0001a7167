"""The `probe:` block of a training stage: accuracy on held-out questions while it trains."""

from __future__ import annotations

from pydantic import Field, model_validator

from training.config.block import Block, Count
from training.config.stage_parts import ToolSpec


class Probe(Block):
    """Measure the model on suites during training, greedily, on questions that their evaluations do not ask."""

    suites: list[str] = Field(min_length=1, description="Names of suites to probe with.")
    every: Count = Field(default=50, description="Optimizer steps between two probes; the last step is one too.")
    items: Count = Field(default=64, description="Questions of each suite, drawn behind those of its evaluation.")
    max_completion_length: Count = Field(default=128, description="Longest completion, in tokens.")
    tools: list[ToolSpec] = Field(
        default_factory=list, description="Functions that the model may call while it answers (docs/tools.md)."
    )
    max_tool_calling_iterations: Count | None = Field(
        default=None, description="tools only: most rounds of calls in one completion; null lets its length decide."
    )
    keep_best: str | None = Field(
        default=None, description="Leave the weights of the best probe of this suite; null leaves the last step's."
    )
    patience: Count | None = Field(
        default=None, description="keep_best only: end training after so many probes without a better one; null never."
    )

    @model_validator(mode="after")
    def what_is_kept_is_probed(self) -> Probe:
        if self.keep_best is not None and self.keep_best not in self.suites:
            raise ValueError(f"keep_best: {self.keep_best} is not among the suites {', '.join(self.suites)}")
        if self.patience is not None and self.keep_best is None:
            raise ValueError("patience waits for a better probe of keep_best; name its suite, or remove patience")
        return self
