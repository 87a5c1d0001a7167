"""Records: written once, verified by content, refused when they cannot be read."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from training.identity import file_sha256, fingerprint
from training.record import missing_files, read_record, verify_record, write_json, write_record


def artifact(folder: Path) -> dict[str, Any]:
    """A folder with one file, and the record that fits it."""
    (folder / "model").mkdir(parents=True)
    weights = folder / "model" / "weights"
    weights.write_text("0.5")
    identity = {"kind": "sft", "rate": 1e-4}
    return {
        "schema_version": 1,
        "kind": "sft",
        "stage": "sft",
        "pipeline": "test",
        "fingerprint": fingerprint(identity),
        "parents": [],
        "identity": identity,
        "files": {"model/weights": file_sha256(weights)},
        "finished_at": "2026-11-22T04:40:00+00:00",
    }


def test_write_record_then_read_returns_it_and_verifies(tmp_path: Path) -> None:
    record = artifact(tmp_path)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert verify_record(tmp_path) == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "record.json"]


def test_write_record_second_time_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    record = artifact(tmp_path)
    write_record(tmp_path, record)
    with pytest.raises(FileExistsError):
        write_record(tmp_path, {**record, "stage": "other"})
    assert read_record(tmp_path) == record


def test_write_record_foreign_fingerprint_is_refused(tmp_path: Path) -> None:
    record = artifact(tmp_path)
    with pytest.raises(ValueError, match="identity block"):
        write_record(tmp_path, {**record, "identity": {"kind": "sft", "rate": 2e-4}})
    assert read_record(tmp_path) is None


def test_read_record_without_one_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    assert read_record(tmp_path / "absent") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 99}', "{}"])
def test_read_record_unreadable_tells_the_user(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(UserError, match=r"record\.json"):
        read_record(tmp_path)


def test_verify_record_changed_file_is_named(tmp_path: Path) -> None:
    write_record(tmp_path, artifact(tmp_path))
    (tmp_path / "model" / "weights").write_text("0.6")
    (problem,) = verify_record(tmp_path)
    assert problem.startswith("model/weights has sha256")


def test_verify_record_missing_file_is_named(tmp_path: Path) -> None:
    record = artifact(tmp_path)
    write_record(tmp_path, record)
    (tmp_path / "model" / "weights").unlink()
    assert verify_record(tmp_path) == ["model/weights is missing"]
    assert missing_files(tmp_path, record) == ["model/weights"]


def test_verify_record_edited_identity_is_noticed(tmp_path: Path) -> None:
    record = artifact(tmp_path)
    write_record(tmp_path, record)
    record["identity"]["rate"] = 2e-4
    (tmp_path / "record.json").write_text(json.dumps(record))
    (problem,) = verify_record(tmp_path)
    assert "identity block" in problem


def test_write_json_failure_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "pins.json"
    write_json(path, {"a": 1})
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["pins.json"]
