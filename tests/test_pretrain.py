"""Continued pretraining: raw text in, packed rows with a label on every token out."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.files import data_files, read_rows
from tests.stage_runs import metrics, planned, run_stage, write_pipeline
from training.config import ConfigError, load_pipeline
from training.record import read_record, verify_record

SENTENCES = ["The pan is hot.", "A lamp burns all night long.", "Rain.", "Nobody reads the second page of it."]


def pretrain(folder: Path, **fields: Any) -> dict[str, Any]:
    """A stage on 40 documents of several lengths, one of them longer than a packed row."""
    rows = [{"text": " ".join(SENTENCES[: 1 + n % 4]) + f" {n}"} for n in range(39)] + [{"text": "word " * 60}]
    path = folder / "text.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trainer = {"max_length": 128, "max_steps": 3, "bf16": False, "learning_rate": 3e-3, "lr_scheduler_type": "cosine"}
    block = {"name": "pretrain", "kind": "pretrain", "batch_size": 8, "data": {"path": str(path)}}
    return block | {"trainer": trainer | fields.pop("trainer", {})} | fields


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrain")
    config = write_pipeline(folder, pretrain(folder, data={"path": str(folder / "text.jsonl"), "dedup": "exact"}))
    assert run_stage(config, "pretrain") == 0
    return config


def test_pretraining_learns_every_token_of_packed_text(trained: Path) -> None:
    folder = planned(trained, "pretrain").folder
    record = read_record(folder)
    assert record is not None
    assert verify_record(folder) == []
    assert record["data"]["rows_kept"] == 40
    packed = record["data"]["packed_rows"]
    assert record["data"]["doctor"]["tokens"]["row"]["sum"] / 128 <= packed < 40
    assert record["data"]["source"]["format"] == "text"
    assert record["config"]["trainer"]["packing_strategy"] == "bfd_split"
    doctor = record["data"]["doctor"]
    assert doctor["trained_tokens"] == doctor["tokens"]
    assert doctor["tokens"]["row"]["max"] == 301  # "word " sixty times and the end of the text
    steps = metrics(folder)
    assert steps[0]["loss"] == pytest.approx(math.log(259), abs=0.2)
    assert steps[-1]["loss"] < steps[0]["loss"]
    assert [step["learning_rate"] for step in steps] == pytest.approx([3e-3, 2.25e-3, 0.75e-3])
    assert all(step["perf/padding_share"] == 0 for step in steps)


def test_packing_may_be_turned_off_and_rows_held_out(tmp_path: Path) -> None:
    block = pretrain(tmp_path, trainer={"packing": False, "max_steps": 1})
    block["data"] |= {"validation": {"share": 0.2, "every": 1}}
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, "pretrain") == 0
    row = metrics(planned(config, "pretrain").folder)[0]
    assert row["eval_loss"] > 0
    assert 0 < row["perf/padding_share"] < 1


def test_a_txt_file_is_a_document_and_a_folder_of_them_a_corpus(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfTwo\nlines\n")
    (tmp_path / "a.txt").write_text("One.")
    (tmp_path / "README.txt").write_text("not data")
    assert [path.name for path in data_files(tmp_path)] == ["a.txt", "b.txt"]
    assert read_rows(tmp_path / "b.txt") == [{"text": "Two\nlines\n"}]
    (tmp_path / "bad.txt").write_bytes(b"one\ntwo \xff\n")
    with pytest.raises(UserError, match=r"bad\.txt:2: .*0xff"):
        read_rows(tmp_path / "bad.txt")
    (tmp_path / "rows.jsonl").write_text('{"text": "x"}\n')
    assert [path.name for path in data_files(tmp_path)] == ["rows.jsonl"]


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (
            {"generator": {"name": "reasoning_gym", "families": {"chain_sum": {}}, "rows": 8}},
            "makes questions, no text; give rows with a `text` column",
        ),
        ({"path": "text.jsonl", "max_prompt_tokens": 8}, "text has no prompt; remove it"),
        ({"path": "text.jsonl", "format": "alpaca"}, "gives no rows for a stage of kind pretrain; use one of text"),
    ],
)
def test_what_is_no_text_is_refused(
    data: dict[str, Any], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    config = write_pipeline(tmp_path, pretrain(tmp_path, data=data))
    with pytest.raises(ConfigError) as caught:
        load_pipeline(config)
    assert told in str(caught.value)


def test_conversations_given_as_text_are_told_what_they_look_like(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "2 + 3", "completion": "5"}\n')
    config = write_pipeline(tmp_path, pretrain(tmp_path, data={"path": str(rows)}))
    assert run_stage(config, "pretrain") == 2
    told = capsys.readouterr().err
    assert "text rows need the columns text" in told
    assert "prompt-completion rows" in told
