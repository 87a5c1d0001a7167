"""Lineage: a proved chain stays proved, and every way of breaking it is found."""

import json
from pathlib import Path

import pytest

from data.errors import UserError
from launch.cli import main
from launch.lineage import prove
from tests.fake_artifacts import finish_all
from tests.test_plan import plan
from training.identity import file_sha256
from training.plan import RunPlan


@pytest.fixture
def finished(tmp_path: Path) -> RunPlan:
    """A run whose every stage has an artifact."""
    run_plan = plan(tmp_path)
    finish_all(run_plan)
    return run_plan


def edit_record(folder: Path, **changes: object) -> None:
    """Do what nobody may: edit a record."""
    path = folder / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("below", ["", "model", "record.json"])
def test_lineage_whole_chain_is_proved(finished: RunPlan, below: str) -> None:
    proof = prove(finished["grpo"].folder / below)
    assert proof.problems == []
    assert proof.lines[0].split()[0] == finished["grpo"].folder.name
    assert proof.seen == {finished[name].folder for name in ("base", "sft", "pairs", "dpo", "grpo")}
    assert "proved: 5 artifacts" in proof.text


def test_lineage_model_line_names_the_base(finished: RunPlan) -> None:
    assert "bundled tiny-random" in prove(finished["sft"].folder).text


def test_lineage_changed_weights_of_an_ancestor_break_it(finished: RunPlan) -> None:
    (finished["sft"].folder / "model" / "weights.txt").write_text("other weights")
    (problem,) = prove(finished["grpo"].folder).problems
    assert problem.startswith(f"{finished['sft'].folder.name}: model/weights.txt has sha256")
    assert main(["lineage", str(finished["grpo"].folder)]) == 1
    assert main(["lineage", str(finished["evaluate-base"].folder)]) == 0


def test_lineage_removed_ancestor_breaks_it(finished: RunPlan) -> None:
    (finished["base"].folder / "record.json").unlink()
    problems = prove(finished["sft"].folder).problems
    assert any("has no record.json" in problem for problem in problems)


def test_lineage_exchanged_parent_breaks_it(finished: RunPlan) -> None:
    record = json.loads((finished["dpo"].folder / "record.json").read_text())
    parents = record["parents"]
    parents[0] = {"stage": "sft", "fingerprint": finished["base"].fingerprint, "folder": finished["base"].folder.name}
    edit_record(finished["dpo"].folder, parents=parents)
    problems = prove(finished["dpo"].folder).problems
    assert problems == [f"{finished['dpo'].folder.name}: the parents it lists are not those in its identity"]


def test_lineage_edited_identity_breaks_it(finished: RunPlan) -> None:
    record = json.loads((finished["sft"].folder / "record.json").read_text())
    record["identity"]["experiment"]["trainer"]["learning_rate"] = 1.0
    edit_record(finished["sft"].folder, identity=record["identity"])
    assert any("identity block" in problem for problem in prove(finished["dpo"].folder).problems)


def test_lineage_edited_parent_record_is_noticed_where_the_child_has_its_hash(finished: RunPlan) -> None:
    base, child = finished["base"].folder, finished["sft"].folder
    parents = json.loads((child / "record.json").read_text())["parents"]
    parents[0]["record_sha256"] = file_sha256(base / "record.json")
    edit_record(child, parents=parents)
    assert prove(child).problems == []
    edit_record(base, metrics={"accuracy": 1.0})
    assert any("was edited after" in problem for problem in prove(child).problems)


def test_lineage_changed_data_file_is_a_note_not_a_break(finished: RunPlan, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    account = {"source": {"path": str(rows), "sha256": file_sha256(rows)}, "rows_in": 1, "rows_kept": 1}
    edit_record(finished["sft"].folder, data=account)
    assert prove(finished["sft"].folder).notes == []
    rows.write_text("[]\n")
    proof = prove(finished["sft"].folder)
    assert proof.problems == []
    assert "has changed since" in proof.notes[0]


def test_lineage_of_no_artifact_is_a_user_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        prove(tmp_path / "absent")
    with pytest.raises(UserError, match="no artifact"):
        prove(tmp_path)
