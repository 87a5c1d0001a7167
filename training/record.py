"""The record of an artifact: `record.json`, written last, never edited, the proof that a stage finished.

A folder without a record holds no artifact. Owns reading, writing and checking records; what a stage puts into one is
the stage's business.
"""

import json
import os
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.identity import canonical_json, file_sha256, fingerprint, sha256_text

RECORD_NAME = "record.json"
SCHEMA_VERSION = 1

REQUIRED = ("schema_version", "kind", "stage", "pipeline", "fingerprint", "parents", "identity", "files", "finished_at")


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON so that after a crash the path holds the old content or the new, never a part of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as stream:
            json.dump(content, stream, indent=2, ensure_ascii=False, allow_nan=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


def read_json(path: Path, fix: str) -> dict[str, Any]:
    """Return the mapping that a file of ours holds; a damaged one raises `UserError` with what to do about it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is not JSON ({error}); {fix}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds {type(content).__name__}, no JSON object; {fix}")
    return content


def flush(path: Path) -> None:
    """Make a file, or the names in a folder, survive a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_record(folder: Path, record: dict[str, Any]) -> Path:
    """Make `folder` an artifact by writing its record; call it after every other file of the stage is on disk.

    Raises `FileExistsError` if the folder already has one and `ValueError` if the record contradicts itself.
    """
    path = folder / RECORD_NAME
    if path.exists():
        raise FileExistsError(f"{path} exists; a record is never edited")
    missing = [key for key in REQUIRED if key not in record]
    if missing:
        raise ValueError(f"the record of {folder.name} lacks {', '.join(missing)}")
    if fingerprint(record["identity"]) != record["fingerprint"]:
        raise ValueError(f"the record of {folder.name} has a fingerprint that is not the one of its identity block")
    write_json(path, record)
    return path


def read_record(folder: Path) -> dict[str, Any] | None:
    """Return the record of `folder`, or None if it holds no artifact; a record we cannot read raises `UserError`."""
    path = folder / RECORD_NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        record = json.loads(text)
    except ValueError as error:
        raise UserError(
            f"{path} is not JSON ({error}); restore it from a backup or remove the folder to redo the stage"
        ) from error
    version = record.get("schema_version") if isinstance(record, dict) else None
    if version != SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema_version {version!r}; this posttrain reads {SCHEMA_VERSION}. "
            "Use the posttrain that wrote it, or another runtime.runs_dir for new runs"
        )
    return record


def missing_files(folder: Path, record: dict[str, Any]) -> list[str]:
    """Return the files that the record promises and the folder lacks (a look at the names, no hashing)."""
    return [name for name in record["files"] if not (folder / name).is_file()]


def verify_record(folder: Path) -> list[str]:
    """Return what is wrong with the artifact in `folder`: no record, a changed identity, missing or changed files.

    Reads every file of the artifact; nothing is taken from the cache of hashes.
    """
    record = read_record(folder)
    if record is None:
        return [f"{folder} has no {RECORD_NAME}: the stage did not finish"]
    problems = [f"{RECORD_NAME} lacks {key}" for key in REQUIRED if key not in record]
    if problems:
        return problems
    if fingerprint(record["identity"]) != record["fingerprint"]:
        problems.append(f"{RECORD_NAME}: the identity block does not give the fingerprint {record['fingerprint'][:8]}")
    for name, expected in sorted(record["files"].items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{name} is missing")
        elif (found := file_sha256(path)) != expected:
            problems.append(f"{name} has sha256 {found[:12]}..., the record says {expected[:12]}...")
    return problems


def weights_sha256(record: dict[str, Any]) -> str | None:
    """Return one hash for the weights of an artifact, None if it has none.

    It is the sha256 of the one file of weights; of several, of the canonical JSON of their names and hashes.
    """
    files = record.get("files", {})
    weights = {name: digest for name, digest in sorted(files.items()) if name.endswith((".safetensors", ".gguf"))}
    if len(weights) < 2:
        return next(iter(weights.values()), None)
    return sha256_text(canonical_json(weights))


def record_sha256(folder: Path) -> str:
    """Return the sha256 of the record; a child's `parents` entry may hold it as `record_sha256`, lineage checks it."""
    return file_sha256(folder / RECORD_NAME)
