"""The base class of every block of the pipeline file: strict, frozen, no unknown keys, a description on each field.

Strict means that the text "8" is not a number and that `true` is not 1; a whole number is accepted where a number is.
Names that the YAML spells otherwise than Python allows (`from`) carry an alias; dumps use the YAML's spelling.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Dtype = Literal["float32", "bfloat16"]


class Block(BaseModel):
    """One mapping of the pipeline file."""

    model_config = ConfigDict(
        strict=True,
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
        allow_inf_nan=False,
    )


Name = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9_-]*$",
        json_schema_extra={"x-accepted": "lower-case letters, digits, _ and -, beginning with a letter or digit"},
    ),
]
PipelineName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]*$",
        json_schema_extra={"x-accepted": "lower-case letters, digits, ., _ and -, beginning with a letter or digit"},
    ),
]
Probability = Annotated[float, Field(ge=0.0, le=1.0)]
OpenProbability = Annotated[float, Field(gt=0.0, lt=1.0)]
PositiveProbability = Annotated[float, Field(gt=0.0, le=1.0)]
Temperature = Annotated[float, Field(gt=0.0)]
Count = Annotated[int, Field(ge=1)]
