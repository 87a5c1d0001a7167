"""`runtime.vllm`: how vLLM is reached where a grpo stage says `rollout: vllm`."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from training.config.block import Block
from training.config.place import PlaceFromHome


class Vllm(Block):
    """Where vLLM runs for stages with `rollout: vllm` (docs/rollout_backends.md)."""

    mode: Literal["colocate", "server", "process"] = Field(
        description="colocate: in the ranks, on their GPUs, by TRL; server: a `vllm serve` that you started, weights "
        "over NCCL by TRL; process: a child of rank 0, weights through a file, also on a CPU.",
    )
    server: str | None = Field(default=None, description="mode server: its address, http://HOST:PORT.")
    python: PlaceFromHome | None = Field(
        default=None,
        min_length=1,
        description="mode process: the Python of the environment that has vLLM; null is posttrain's own.",
    )

    @model_validator(mode="after")
    def each_mode_has_its_own_keys(self) -> Vllm:
        if self.mode == "server" and self.server is None:
            raise ValueError("mode server needs its address; write server: http://HOST:8000")
        if self.server is not None and re.fullmatch(r"https?://[^/\s]+/?", self.server) is None:
            raise ValueError(f"server {self.server} is no address; write http://HOST:PORT")
        for key, mode in (("server", "server"), ("python", "process")):
            if getattr(self, key) is not None and self.mode != mode:
                raise ValueError(f"{key} would be ignored with mode {self.mode}; remove it, or set mode: {mode}")
        return self
