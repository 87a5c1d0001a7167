"""`posttrain lineage`: walk from an artifact back to the base model and the data, checking every hash on the way."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.identity import file_sha256
from training.record import RECORD_NAME, read_record, record_sha256, verify_record, weights_sha256


@dataclass
class Proof:
    """What was found: `lines` to show, `problems` that break the chain, `notes` that do not."""

    lines: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: set[Path] = field(default_factory=set)

    @property
    def text(self) -> str:
        """The whole answer."""
        verdict = (
            [f"BROKEN: {problem}" for problem in self.problems]
            if self.problems
            else [f"proved: {len(self.seen)} artifacts, every file and fingerprint as recorded"]
        )
        return "\n".join([*self.lines, "", *(f"note: {note}" for note in self.notes), *verdict])


def prove(path: Path) -> Proof:
    """Verify the artifact at `path` (its folder, its `model/` or its record) and everything it was made from."""
    proof = Proof()
    _walk(artifact_folder(path), 0, proof)
    return proof


def artifact_folder(path: Path) -> Path:
    """Return the stage folder that `path` belongs to; raises UserError if no record is found there or above."""
    start = path.absolute()
    if not start.exists():
        raise UserError(f"{path} does not exist")
    for folder in (start, start.parent, start.parent.parent):
        if (folder / RECORD_NAME).is_file():
            return folder
    raise UserError(f"{path} has no {RECORD_NAME}: it is no artifact, or its stage did not finish")


def _walk(folder: Path, depth: int, proof: Proof) -> None:
    indent = "   " * depth + ("<- " if depth else "")
    if folder in proof.seen:
        proof.lines.append(f"{indent}{folder.name} (above)")
        return
    proof.seen.add(folder)
    found = verify_record(folder)
    record = read_record(folder)
    proof.problems += [f"{folder.name}: {problem}" for problem in found]
    proof.lines.append(f"{indent}{folder.name}  {'BROKEN' if found else 'verified'}{_summary(record)}")
    if record is None:
        return
    proof.lines += [f"{'   ' * depth}   {line}" for line in [*_weights(record), *_origins(record, folder, proof)]]
    _check_parents_in_identity(record, folder, proof)
    for parent in record.get("parents", []):
        _walk_parent(folder, parent, depth + 1, proof)


def _walk_parent(child: Path, parent: dict[str, Any], depth: int, proof: Proof) -> None:
    folder = child.parent / parent["folder"]
    record = read_record(folder)
    if record is None:
        proof.lines.append(f"{'   ' * depth}<- {parent['folder']}  MISSING")
        proof.problems.append(f"{child.name}: its parent {folder} has no {RECORD_NAME}")
        return
    if record["fingerprint"] != parent["fingerprint"]:
        proof.problems.append(
            f"{child.name}: its parent {parent['stage']} was {parent['fingerprint'][:8]}, "
            f"{parent['folder']} is {record['fingerprint'][:8]}"
        )
    if "record_sha256" in parent and record_sha256(folder) != parent["record_sha256"]:
        proof.problems.append(f"{folder.name}: {RECORD_NAME} was edited after {child.name} was made from it")
    _walk(folder, depth, proof)


def _check_parents_in_identity(record: dict[str, Any], folder: Path, proof: Proof) -> None:
    listed = [parent["fingerprint"] for parent in record.get("parents", [])]
    if record.get("identity", {}).get("parents", listed) != listed:
        proof.problems.append(f"{folder.name}: the parents it lists are not those in its identity")


def _summary(record: dict[str, Any] | None) -> str:
    if record is None:
        return ""
    commit = record.get("environment", {}).get("git_commit")
    dirty = "+changes" if record.get("environment", {}).get("git_dirty_sha256") else ""
    source = f", commit {commit[:8]}{dirty}" if commit else ""
    files = len(record.get("files", {}))
    return f"  {record['kind']} {record['fingerprint'][:8]}, {files} files, seed {record.get('seed')}{source}"


def _weights(record: dict[str, Any]) -> list[str]:
    """Return the line that names the seed and the hash of the weights it led to; none for data and evaluations."""
    digest = weights_sha256(record)
    return [] if digest is None else [f"weights: seed {record.get('seed')} -> sha256 {digest}"]


def _origins(record: dict[str, Any], folder: Path, proof: Proof) -> list[str]:
    """Return where the model or the data of an artifact came from; a source file that changed since is a note."""
    lines = []
    if record["kind"] == "base":
        model = record["identity"].get("model", {})
        lines.append("model: " + ", ".join(f"{key} {_brief(value)}" for key, value in sorted(model.items())))
    teacher = record["identity"].get("drawing", {}).get("model")
    if teacher is not None:
        lines.append("teacher: " + ", ".join(f"{key} {_brief(value)}" for key, value in sorted(teacher.items())))
    account = record.get("data")
    if account:
        dropped = ", ".join(f"{count} {why}" for why, count in account.get("dropped", {}).items() if count)
        kept = f"{account.get('rows_kept')} of {account.get('rows_in')} rows" + (
            f" ({dropped} dropped)" if dropped else ""
        )
        lines.append(
            f"data: {kept}, sha256 {str(account.get('rows_sha256'))[:12]}, from {_brief(account.get('source'))}"
        )
        _compare_source_file(account.get("source") or {}, folder, proof)
    return lines


def _compare_source_file(source: dict[str, Any], folder: Path, proof: Proof) -> None:
    path, recorded = source.get("path"), source.get("sha256")
    if not isinstance(path, str) or not isinstance(recorded, str):
        return
    if not Path(path).is_file():
        proof.notes.append(f"{folder.name}: its data file {path} is not here now; the record has its sha256")
    elif file_sha256(Path(path)) != recorded:
        proof.notes.append(f"{folder.name}: its data file {path} has changed since; the record has the old sha256")


def _brief(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."
