"""Which model a path on the command line means: a stage folder, a model folder or a GGUF file. Reads no weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.record import read_record

GGUF = ".gguf"
_MAGIC = b"GGUF"


@dataclass(frozen=True)
class ModelPath:
    """A folder in transformers' format with the GGUF file in it that is meant, and the record of its stage if known."""

    folder: Path
    gguf_file: str | None
    record: dict[str, Any] | None

    @property
    def is_adapter(self) -> bool:
        """Whether the folder holds an adapter in place of whole weights."""
        return (self.folder / "adapter_config.json").is_file()

    @property
    def system(self) -> str | None:
        """The system message that the stage of the model put first in every prompt."""
        return None if self.record is None else (self.record.get("config") or {}).get("system")


def find_model(path: Path) -> ModelPath:
    """Return the model that `path` names; UserError where there is none."""
    if path.is_file():
        if path.suffix != GGUF:
            raise UserError(f"{path} is no model; give a stage's folder, a model's folder or a {GGUF} file")
        _require_gguf(path)
        return ModelPath(path.parent, path.name, None)
    if not path.is_dir():
        raise UserError(f"{path} does not exist; give a stage's folder, a model's folder or a {GGUF} file")
    record = read_record(path)
    if (path / "model").is_dir():
        if record is None:
            raise UserError(f"{path} has no record.json: its stage has not finished; finish it with posttrain run")
        return ModelPath(path / "model", None, record)
    if (path / "config.json").is_file() or (path / "adapter_config.json").is_file():
        return ModelPath(path, None, read_record(path.parent) if path.name == "model" else None)
    files = sorted(path.glob(f"*{GGUF}"))
    if len(files) == 1:
        _require_gguf(files[0])
        return ModelPath(path, files[0].name, None)
    if files:
        raise UserError(f"{path} holds {len(files)} GGUF files; name one: {', '.join(file.name for file in files)}")
    raise UserError(f"{path} holds no model: neither model/, config.json, adapter_config.json nor a {GGUF} file")


def _require_gguf(path: Path) -> None:
    with path.open("rb") as stream:
        if stream.read(len(_MAGIC)) != _MAGIC:
            raise UserError(f"{path} is no GGUF file: it does not begin with {_MAGIC.decode()}")
