"""What a check of the doctor is given and what it returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from training.config import Pipeline, Runtime

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Machine:
    """This host: the pipeline it is judged for (None: the defaults) and the environment."""

    pipeline: Pipeline | None
    environment: Mapping[str, str]

    @property
    def runtime(self) -> Runtime:
        """Where and how the pipeline runs."""
        return Runtime() if self.pipeline is None else self.pipeline.runtime

    @property
    def ranks_here(self) -> int:
        """Ranks this host would start."""
        return self.runtime.processes // self.runtime.nodes


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's table; `fix` says what to do unless the state is ok."""

    name: str
    state: State
    found: str
    fix: str = ""


def nearest_folder(path: Path) -> Path:
    """Return the path, or the folder above it that exists."""
    return path if path.is_dir() else nearest_folder(path.absolute().parent)
