"""Numbers that a model gave to texts, kept under hashes: in this user's cache, across crashes and runs."""

import os
import socket
from importlib import metadata
from pathlib import Path
from typing import Any

from training.environment import device_name
from training.identity import cache_root, canonical_json, default_cache_dir, file_sha256, sha256_text
from training.json_lines import Appender, lines_below
from training.model_files import model_files

SCORES_VERSION = 2


def model_files_key(folder: Path, settings: dict[str, Any]) -> str:
    """Return the 64 hex digits that name a model's numbers: the content of its files, the settings it runs with, the
    libraries and the kind of device: what decides the last bits.
    """
    import torch

    settings = {
        **settings,
        "packages": {name: metadata.version(name) for name in ("torch", "transformers", "trl")},
        "device": device_name(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }
    files = model_files(folder, hidden=False)
    content = {str(path.relative_to(folder)): file_sha256(path, default_cache_dir()) for path in files}
    return sha256_text(canonical_json({"version": SCORES_VERSION, "files": content, **settings}))


class ScoreCache:
    """The numbers of one model that this user's runs have computed; each process appends to a file of its own host."""

    def __init__(self, name: str, model_key: str, rank: int = 0) -> None:
        """`name` says what the numbers are, `model_key` (64 hex digits) everything that decides them but the text."""
        self._folder = cache_root() / name / model_key[:32]
        self._file = Appender(self._folder / f"{socket.gethostname()}-{os.getpid()}-{rank}.jsonl")
        self._scores: dict[str, float | None] = {}
        for line in lines_below(self._folder):
            self._scores |= line

    def __contains__(self, key: str) -> bool:
        return key in self._scores

    def __getitem__(self, key: str) -> float | None:
        return self._scores[key]

    def add(self, scores: dict[str, float | None]) -> None:
        """Keep new numbers; what is there already stays as it was first computed."""
        new = {key: value for key, value in scores.items() if key not in self._scores}
        if not new:
            return
        self._file.add(new)
        self._scores |= new

    def close(self) -> None:
        """Close the file."""
        self._file.close()
