"""The artifacts of a stage for wandb: what it left and what it was made from, by path and sha256, not by upload.

Each holds a small `hashes.json` (fingerprint, sha256 of the record and of every file), which makes its version follow
the content, and references to the files where they lie. wandb draws the lineage from who used and who left which.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.home import from_home
from training.record import record_sha256

if TYPE_CHECKING:
    from wandb import Artifact

TYPES = {"sample": "dataset", "evaluate": "evaluation"}
"""The artifact type by kind of stage; every other kind leaves a model."""
SHOWN_FILES = ("model/", "data.jsonl", "items.jsonl")


def output_artifact(folder: Path, record: dict[str, Any], upload_model: bool = False) -> "Artifact":
    """What the stage of `record` left in `folder`; with `upload_model` the files of `model/` themselves."""
    hashes = {
        "fingerprint": record["fingerprint"],
        "record_sha256": record_sha256(folder),
        "files": record["files"],
        "parents": [{key: one[key] for key in ("stage", "fingerprint")} for one in record["parents"]],
    }
    kind = TYPES.get(record["kind"], "model")
    name = f"{record['pipeline']}-{record['stage']}-{record['fingerprint'][:8]}"
    artifact = _artifact(name, kind, {"kind": record["kind"], **hashes})
    for file in record["files"]:
        path = folder / file
        if file.startswith(SHOWN_FILES) and path.is_file():
            if upload_model and file.startswith("model/"):
                artifact.add_file(str(path), name=file)
            else:
                artifact.add_reference(path.resolve().as_uri(), name=file, checksum=False)
    return artifact


def input_artifacts(record: dict[str, Any], parents: Sequence[tuple[Path, dict[str, Any]]]) -> Iterator["Artifact"]:
    """The parents' artifacts, each as its own stage records it, and the rows that the stage read from elsewhere."""
    for folder, parent in parents:
        yield output_artifact(folder, parent)
    data = record.get("data") or {}
    source = data.get("source") or {}
    if data.get("rows_sha256") and not source.get("stage"):
        known = {key: data.get(key) for key in ("rows_sha256", "rows_in", "rows_kept", "dropped")}
        artifact = _artifact(f"rows-{data['rows_sha256'][:12]}", "dataset", {"source": source, **known})
        path = from_home(str(source.get("path") or ""))
        if source.get("path") and path.exists():
            artifact.add_reference(path.resolve().as_uri(), checksum=False)
        yield artifact


def _artifact(name: str, kind: str, metadata: dict[str, Any]) -> "Artifact":
    import wandb

    artifact = wandb.Artifact(name, type=kind, metadata=metadata)
    with artifact.new_file("hashes.json", encoding="utf-8") as sink:
        json.dump(metadata, sink, indent=2, sort_keys=True)
    return artifact
