"""Why a stage is skipped, resumed or run, in words; for a changed stage, which keys changed since its last artifact."""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from training.finished_prompts import FINISHED_PROMPTS
from training.identity import canonical_json
from training.progress import utc_words
from training.record import missing_files, read_record
from training.run_folder import RunFolder

_SHOWN = 3
_HASH = re.compile(r"[0-9a-f]{40,64}")


def done_reason(folder: Path, record: dict[str, Any]) -> str:
    """Return for example "done: record 1a2b3c4d from 2026-11-22 04:40 UTC"."""
    reason = f"done: record {record['fingerprint'][:8]} from {utc_words(record['finished_at'])}"
    missing = missing_files(folder, record)
    return f"{reason}, but {missing[0]} is missing from {folder.name}" if missing else reason


def interrupted_reason(folder: Path) -> str:
    """Say how far the attempt in `folder` came and where it goes on."""
    numbers = [path.parent.name.rpartition("-")[2] for path in folder.glob("checkpoints/checkpoint-*/manifest.json")]
    steps = sorted(int(number) for number in numbers if number.isdigit())
    reached = _reached(folder, beyond=steps[-1] if steps else 0)
    if steps:
        return f"resume: from the checkpoint at step {steps[-1]}{reached}"
    if any(folder.glob(f"{FINISHED_PROMPTS}/*.jsonl")):
        return "resume: behind the prompts that are drawn already"
    return f"run: an earlier attempt left no checkpoint{reached}"


def _reached(folder: Path, beyond: int) -> str:
    try:
        state = json.loads((folder / "ranks" / "0.json").read_text())
    except (OSError, ValueError):
        return ""
    if not state.get("max_steps") or (state.get("step") or 0) <= beyond:
        return ""
    return f" (it had reached step {state['step']} of {state['max_steps']})"


def new_reason(run: RunFolder, name: str, identity: dict[str, Any], parents: Mapping[str, str]) -> str:
    """Return "run: new", or what changed since the newest artifact of this stage name."""
    older = [
        record for folder in run.stages() if folder.name == name and (record := read_record(folder.path)) is not None
    ]
    if not older:
        return "run: new"
    newest = max(older, key=lambda record: str(record["finished_at"]))
    changes = list(differences(name, newest, identity, parents))
    more = f" and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
    return f"run: changed since {newest['fingerprint'][:8]}: {'; '.join(changes[:_SHOWN])}{more}"


def differences(
    name: str, record: dict[str, Any], identity: dict[str, Any], parents: Mapping[str, str]
) -> Iterator[str]:
    """Yield what differs between a record's identity and the present one, as the user would write the keys."""
    then, now = _flat(record["identity"]), _flat(identity)
    for key in sorted(then.keys() | now.keys()):
        if key != "parents" and then.get(key) != now.get(key):
            yield f"{_spelled(name, key)} {_short(then.get(key))} -> {_short(now.get(key))}"
    before = {parent["stage"]: parent["fingerprint"] for parent in record["parents"]}
    for parent, digest in parents.items():
        if before.get(parent) != digest:
            yield f"parent {parent} {_short(before.get(parent))} -> {digest[:8]}"


def _flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by dotted key; lists are leaves."""
    leaves: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, dict) and item:
            leaves.update(_flat(item, f"{prefix}{key}."))
        else:
            leaves[f"{prefix}{key}"] = item
    return leaves


def _spelled(name: str, key: str) -> str:
    """Turn a key of the identity block into the key of the YAML."""
    if name == "base" or key.startswith("suites."):
        return key.removeprefix("experiment.").replace(".data.source.", ".data.")
    return f"stages.{name}.{key.removeprefix('experiment.').replace('data.source.', 'data.', 1)}"


def _short(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, str):
        return value[:8] if _HASH.fullmatch(value) else value
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    text = canonical_json(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
