"""The top level of the pipeline file."""

from __future__ import annotations

from pydantic import Field

from training.config.benchmarks import Benchmark
from training.config.block import Block, Name, PipelineName
from training.config.data_blocks import Suite
from training.config.decoding import EvaluateBlock
from training.config.place import Place
from training.config.runtime import Runtime
from training.config.stages import Stage


class Pipeline(Block):
    """One post-training pipeline: a base model and the stages that follow, in order."""

    name: PipelineName = Field(description="Name of the pipeline and of its run folder.")
    seed: int = Field(default=17, ge=0, description="Seed of everything random in every stage.")
    model: Place = Field(
        min_length=1, description='The base model: "bundled:NAME", "hub-org/name@commit-or-branch", or a local folder.'
    )
    chat_template: Place | None = Field(
        default=None, description="Give the base model this chat template (a shipped name or a file); null keeps it."
    )
    system: str | None = Field(
        default=None,
        description="System message put first in every prompt of every stage and suite; null is the template's own.",
    )
    offline: bool = Field(default=False, description="Use no network at all.")
    suites: dict[Name, Suite] = Field(default_factory=dict, description="Evaluation suites by name.")
    benchmarks: dict[Name, Benchmark] = Field(
        default_factory=dict, description="Published benchmarks by name (docs/benchmarks.md)."
    )
    evaluate: EvaluateBlock | None = Field(
        default=None, description="Measure the base and every model; null measures only where a stage says so."
    )
    stages: list[Stage] = Field(min_length=1, description="The stages, in order.")
    runtime: Runtime = Field(default_factory=Runtime, description="Where and how it runs.")
