"""Weights read and written one tensor at a time: whatever the model's size, memory holds about one shard.

safetensors files are mapped, so a tensor's bytes come from disk when it is asked for and go when it is let go. A shard
is written under a temporary name and renamed; without the index, written last, the folder is no model.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from data.errors import UserError
from training.record import write_json

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
SHARD_BYTES = 1_000_000_000
BESIDE_WEIGHTS = ("generation_config.json",)


class WeightReader:
    """The tensors of a model folder by name, from one safetensors file or many; use it in a `with` block."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._files = ExitStack()
        self._open: dict[Path, Any] = {}
        self.places = _places(folder)

    def __enter__(self) -> "WeightReader":
        return self

    def __exit__(self, *error: Any) -> None:
        self._files.close()

    @property
    def names(self) -> list[str]:
        """All names, in the order of the index."""
        return list(self.places)

    def read(self, name: str) -> torch.Tensor:
        """Return a tensor on the CPU, in the dtype it is stored in."""
        return self._file(name).get_tensor(name).clone()  # two reads of one name would share memory

    def dtype(self, name: str) -> torch.dtype:
        """Precision in which a tensor is stored, without reading it (but for a single number)."""
        part = self._file(name).get_slice(name)
        stored: torch.Tensor = part[:0] if part.get_shape() else self.read(name)
        return stored.dtype

    def _file(self, name: str) -> Any:
        path = self.places[name]
        if path not in self._open:
            self._open[path] = self._files.enter_context(safe_open(str(path), framework="pt"))
        return self._open[path]


class ShardWriter:
    """Collects tensors into shards of about `shard_bytes`; `close` names them and writes the index."""

    def __init__(self, folder: Path, dtype: torch.dtype | None = None, shard_bytes: int = SHARD_BYTES):
        self.folder, self.dtype, self.shard_bytes = folder, dtype, shard_bytes
        self.parameters = 0
        self._pending: dict[str, torch.Tensor] = {}
        self._pending_bytes = self._total_bytes = 0
        self._shards: list[list[str]] = []
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def add(self, name: str, tensor: torch.Tensor, keep_dtype: bool = False) -> None:
        """Take a tensor, cast to the dtype asked for unless it must keep its own."""
        if self.dtype is not None and tensor.is_floating_point() and not keep_dtype:
            tensor = tensor.to(self.dtype)
        num_bytes = tensor.numel() * tensor.element_size()
        if self._pending and self._pending_bytes + num_bytes > self.shard_bytes:
            self._flush()
        self._pending[name] = tensor.contiguous()
        self._pending_bytes += num_bytes
        self._total_bytes += num_bytes
        self.parameters += tensor.numel()

    def close(self) -> None:
        """Write what is pending, give the shards their names and, where there are several, the index."""
        self._flush()
        count = len(self._shards)
        if count == 1:
            self._part(0).rename(self.folder / SINGLE)
            return
        names = [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
        for number, name in enumerate(names):
            self._part(number).rename(self.folder / name)
        where = {tensor: name for name, shard in zip(names, self._shards, strict=True) for tensor in shard}
        write_json(self.folder / INDEX, {"metadata": {"total_size": self._total_bytes}, "weight_map": where})

    def _flush(self) -> None:
        if self._pending:
            save_file(self._pending, str(self._part(len(self._shards))), metadata={"format": "pt"})
            self._shards.append(list(self._pending))
        self._pending, self._pending_bytes = {}, 0

    def _part(self, number: int) -> Path:
        return self.folder / f".part-{number}.safetensors"


def read_config(folder: Path) -> dict[str, Any]:
    """The model's `config.json`."""
    return dict(json.loads((folder / "config.json").read_text()))


def write_beside(source: Path, folder: Path, config: dict[str, Any], dtype: str | None) -> None:
    """Write the config (with the dtype asked for) and copy what belongs to the weights; the tokenizer is not ours."""
    write_json(folder / "config.json", config if dtype is None else config | {"dtype": dtype})
    for name in BESIDE_WEIGHTS:
        if (source / name).is_file():
            shutil.copy2(source / name, folder / name)


def _places(folder: Path) -> dict[str, Path]:
    """Tensor name -> file."""
    if (folder / INDEX).is_file():
        index = json.loads((folder / INDEX).read_text())["weight_map"]
        return {name: folder / file for name, file in index.items()}
    path = folder / SINGLE
    if not path.is_file():
        raise UserError(f"{folder} has neither {SINGLE} nor {INDEX}; convert its weights to safetensors first")
    with safe_open(str(path), framework="pt") as file:
        return dict.fromkeys(file.keys(), path)


def in_layers(names: list[str]) -> Iterator[tuple[str, int | None, str]]:
    """Yield (name, layer, what follows "layers.N."); None and the name itself for what is in no layer.

    UserError for names other than `model.layers.N.*`: another architecture than those we know.
    """
    for name in names:
        head, found, rest = name.partition("model.layers.")
        if not found:
            yield name, None, name
            continue
        number, _, inside = rest.partition(".")
        if head or not number.isdigit():
            raise UserError(f"the tensor {name} is in a layer that is not model.layers.N; it cannot be taken apart")
        yield name, int(number), inside
