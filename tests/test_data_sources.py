"""Reading rows: every source and file kind, renamed columns, identity, and the mistakes people make."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.files import read_rows
from data.sources import data_identity, load_rows
from tests.data_blocks import block, generator

ROWS = [{"prompt": "2 + 3 =", "answer": "5"}, {"prompt": 'a\u2028b, "q"', "answer": "6"}]
FORMATS = {"formats": 1}
"""The version of our reading of foreign rows, part of their identity."""
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    import csv

    import pyarrow
    from pyarrow import parquet

    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n\n")
    elif path.suffix == ".parquet":
        parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    else:
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)
    return path


@pytest.mark.parametrize("suffix", [".json", ".jsonl", ".csv", ".parquet", ".JSONL"])
def test_load_rows_every_file_kind_gives_the_same_rows(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"rows{suffix}"
    write(tmp_path / f"rows{suffix.lower()}", ROWS).rename(path)
    loaded = load_rows(block(path=str(path)), 1)
    assert loaded.rows == ROWS
    assert loaded.rows_in == 2
    assert loaded.source == {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), **FORMATS}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", '{"prompt": "x"}\n{"prompt": ', r"a\.jsonl:2:"),
        ("a.jsonl", '{"prompt": "x"}\n[1]\n', r"a\.jsonl:2: a list"),
        ("a.json", '{"prompt": "x"}', "holds an object"),
        ("a.json", '[{"prompt": "x"}, 3]', r"a\.json:1: a int"),
        ("a.json", '{"prompt": "x"}\n{"prompt": "y"}', "one object a line is .jsonl"),
        ("a.csv", "prompt,answer\nx,1\ny\n", r"a\.csv:3: .* 2 fields"),
        ("a.csv", "prompt,answer\nx,1,2\n", r"a\.csv:2:"),
        ("a.parquet", "no parquet", "not a readable Parquet"),
        ("a.xml", "x", r"suffix '\.xml' is not read; use \.json"),
        ("a.jsonl", "", "has no rows"),
        ("a.json", "[]", "has no rows"),
        ("a.csv", "prompt,answer\n", "has no rows"),
    ],
)
def test_load_rows_malformed_file_names_the_place(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=message):
        load_rows(block(path=str(tmp_path / name)), 1)


def test_read_rows_not_utf8_and_missing_are_user_errors(tmp_path: Path) -> None:
    (tmp_path / "latin.jsonl").write_bytes('{"prompt": "é"}'.encode("latin-1"))
    with pytest.raises(UserError, match="UTF-8"):
        read_rows(tmp_path / "latin.jsonl")
    with pytest.raises(UserError, match="is not a file"):
        load_rows(block(path=str(tmp_path / "absent.jsonl")), 1)


def test_load_rows_columns_are_renamed_to_ours(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"question": "2 + 3 =", "prompt": "old", "label": "5", "topic": "sums"}])
    loaded = load_rows(block(path=str(path), columns={"prompt": "question", "answer": "label"}), 1)
    assert loaded.rows == [{"topic": "sums", "prompt": "2 + 3 =", "answer": "5"}]


def test_load_rows_swapped_columns_are_swapped(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", [{"chosen": "bad", "rejected": "good"}])
    loaded = load_rows(block(path=str(path), columns={"chosen": "rejected", "rejected": "chosen"}), 1)
    assert loaded.rows == [{"chosen": "good", "rejected": "bad"}]


def test_load_rows_unknown_column_names_those_found(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    with pytest.raises(UserError, match=r"columns\.answer='label' is no column.*found: answer, prompt"):
        load_rows(block(path=str(path), columns={"answer": "label"}), 1)


def test_load_rows_generator_takes_its_own_seed_or_the_callers() -> None:
    families: dict[str, dict[str, Any]] = {"gcd": {}}
    derived = load_rows(block(generator=generator(families, 5)), 3)
    own = load_rows(block(generator=generator(families, 5, seed=3)), 99)
    assert derived.rows == own.rows
    assert derived.source == own.source == data_identity(block(generator=generator(families, 5)), 3, str)
    assert derived.source["package"].startswith("reasoning-gym==")


def test_load_rows_stage_reads_what_the_stage_kept(tmp_path: Path) -> None:
    write(tmp_path / "data.jsonl", ROWS)
    loaded = load_rows(block(stage="pairs"), 1, lambda name: tmp_path / ("" if name == "pairs" else "wrong"))
    assert loaded.rows == ROWS
    assert loaded.source == {"stage": "pairs"}


def test_load_rows_hub_loads_the_pinned_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    def load_dataset(name: str, subset: str | None, *, split: str, revision: str) -> list[dict[str, Any]]:
        assert (name, subset, split, revision) == ("org/name", "main", "test", COMMIT)
        return ROWS

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    licence = {"name": "mit", "from": "the hub's card"}
    monkeypatch.setattr("data.sources.hub_licence", lambda name, commit: licence if commit == COMMIT else None)
    data = block(hub="org/name@v1", subset="main", split="test")
    loaded = load_rows(data, 1, pin=lambda reference: COMMIT)
    assert loaded.rows == ROWS
    assert loaded.source == {
        "hub": "org/name",
        "commit": COMMIT,
        "split": "test",
        "subset": "main",
        "license": {"name": "mit", "from": "the hub's card"},
        **FORMATS,
    }


def test_load_rows_hub_that_cannot_be_loaded_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    from datasets.exceptions import DatasetNotFoundError

    def load_dataset(*arguments: Any, **options: Any) -> None:
        raise DatasetNotFoundError("Dataset 'org/name' doesn't exist on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(UserError, match=r"org/name@v1.*doesn't exist"):
        load_rows(block(hub="org/name@v1"), 1)


def test_data_identity_of_a_file_is_its_content_not_its_path(tmp_path: Path) -> None:
    one, two = (write(tmp_path / name, ROWS) for name in ("one.jsonl", "two.jsonl"))
    assert data_identity(block(path=str(one)), 1, str) == data_identity(block(path=str(two)), 2, str)
    two.write_text(two.read_text() + '{"prompt": "more"}\n')
    assert data_identity(block(path=str(one)), 1, str) != data_identity(block(path=str(two)), 1, str)


def test_data_identity_takes_a_cached_file_hash(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", ROWS)
    assert data_identity(block(path=str(path)), 1, str, lambda path: "cached") == {"sha256": "cached", **FORMATS}


def test_data_identity_of_the_hub_is_the_commit() -> None:
    found = data_identity(
        block(hub="org/name@main"), 1, lambda reference: COMMIT if reference == "org/name@main" else ""
    )
    assert found == {"hub": "org/name", "commit": COMMIT, **FORMATS}


def test_data_identity_of_a_stage_is_left_to_its_fingerprint() -> None:
    assert data_identity(block(stage="pairs"), 1, str) == {}


def test_data_identity_imports_nothing_heavy() -> None:
    """`posttrain plan` asks for identities and must answer in about a second."""
    program = (
        "import sys\n"
        "from tests.data_blocks import block, generator\n"
        "from data.sources import data_identity\n"
        "data_identity(block(generator=generator({'gcd': {}}, 5)), 1, str)\n"
        "print([m for m in ('torch', 'datasets', 'reasoning_gym', 'transformers', 'pyarrow') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
