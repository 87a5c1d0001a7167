"""`kind: export`: what leaves the pipeline, and in which forms."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from training.config.block import Dtype
from training.config.stage_base import StageBase

GgufType = Literal["f16", "q8_0", "q4_1", "q4_0"]


class ExportStage(StageBase):
    """Write the parent model for use elsewhere: merged safetensors, and GGUF files for llama.cpp (docs/export.md)."""

    kind: Literal["export"] = Field(description="Write a model for use elsewhere.")
    save_dtype: Dtype = Field(default="bfloat16", description="Precision of the safetensors.")
    gguf: list[GgufType] = Field(
        default_factory=list, description="GGUF files to write, by the type of their matrices; [] writes none."
    )

    @field_validator("gguf")
    @classmethod
    def each_type_stands_once(cls, types: list[GgufType]) -> list[GgufType]:
        for name in types:
            if types.count(name) > 1:
                raise ValueError(f"names {name} {types.count(name)} times; once is enough")
        return types
