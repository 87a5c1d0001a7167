"""Cleaning, mixing and validation from the YAML to rows, account and identity."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.accounting import Rows
from data.doctor.examination import Examination
from training.config import ConfigError, Pipeline, load_pipeline
from training.mixture import MixedRows, findings_by_source, planned_lines, seen_lines
from training.plan import data_seed, plan_run
from training.report.collect import config_parents
from training.rows import account_in_record, rows_in_limits

ITEM = "On Monday the old giraffe ate forty leaves, and on Tuesday it ate only seventeen of them; how many in all?"


def pipeline_of(folder: Path, data: str, suite: str = "suite.jsonl") -> Pipeline:
    for name, rows in {
        "suite.jsonl": [{"prompt": ITEM, "answer": "57"}, {"prompt": "What is 3 + 4?", "answer": "7"}],
        "a.jsonl": [{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(10)],
        "b.jsonl": [
            {"prompt": "QUESTION 3", "completion": "Answer  3"},
            {"prompt": f"Please: {ITEM}", "completion": "57"},
            *({"prompt": f"other {n}", "completion": f"answer {n}"} for n in range(8)),
        ],
    }.items():
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    text = f"""
name: mixed
model: bundled:tiny-random
suites: {{asked: {{items: 1, data: {{path: {folder / suite}}}}}}}
evaluate: {{suites: [asked]}}
stages:
  - name: sft
    kind: sft
    batch_size: 4
    data: {data.replace("DIR", str(folder))}
    trainer: {{max_steps: 10}}
"""
    (folder / "pipeline.yaml").write_text(text)
    return load_pipeline(folder / "pipeline.yaml")


def rows_of(pipeline: Pipeline, folder: Path, name: str = "sft", owner: str = "sft") -> Rows:
    """The rows of the stage `name`, drawn as in a stage called `owner`."""
    stage: Any = next(stage for stage in pipeline.stages if stage.name == name)
    return rows_in_limits(pipeline, stage, data_seed(pipeline, owner), None, None, lambda name: folder, str)  # type: ignore[arg-type]


def fingerprint(pipeline: Pipeline, folder: Path) -> str:
    return plan_run(pipeline, folder / "runs")["sft"].fingerprint


MIX = (
    "{mix: [{path: DIR/a.jsonl, weight: 1}, {path: DIR/b.jsonl, weight: 3}], mix_rows: 20, "
    "dedup: exact, decontaminate: suites}"
)


def test_a_mixture_is_cleaned_as_a_whole_drawn_and_accounted_for(tmp_path: Path) -> None:
    """Of b's 10 rows one repeats a row of a and one holds an item: 8 are left. 20 rows at 1:3 are 5 and 15 = 8 + 7."""
    pipeline = pipeline_of(tmp_path, MIX)
    rows = rows_of(pipeline, tmp_path)
    account = account_in_record(rows)
    assert account["dropped"] == {"duplicate": 1, "contaminated": 1, "not_drawn": 5}
    assert (account["rows_in"], account["rows_kept"], account["repeated"]) == (20, 20, 7)
    assert account["rows_in"] + account["repeated"] == account["rows_kept"] + sum(account["dropped"].values())
    assert [(s["available"], s["drawn"], s["passes"]) for s in account["source"]["mix"]] == [
        (10, 5, 0.5),
        (8, 15, 1.875),
    ]
    details = {row.reason: row.detail for row in rows.account.dropped}
    assert details["duplicate"] == "the same as row 3"
    assert details["contaminated"].startswith('suite asked item row/0, 100% of it: "on monday the old giraffe')
    assert "b.jsonl:2" in [line["where"].rpartition("/")[2] for line in rows.account.lines()]
    assert rows_of(pipeline, tmp_path).rows == rows.rows


def test_training_and_plan_say_how_often_a_source_is_seen(tmp_path: Path) -> None:
    """10 steps of 4 rows are 2 epochs of 20 rows; b's 8 rows are drawn 15 times an epoch: 3.8 times."""
    pipeline = pipeline_of(tmp_path, MIX)
    stage = next(stage for stage in pipeline.stages if stage.name == "sft")
    rows = rows_of(pipeline, tmp_path)
    assert isinstance(rows, MixedRows)
    assert [line.partition("; ")[2] for line in seen_lines(pipeline, stage, rows)] == [
        "seen 1.0 times in 2 epochs",
        "seen 3.8 times in 2 epochs",
    ]
    assert planned_lines(pipeline, stage) == []  # only the files know how many rows they have
    limited = pipeline_of(tmp_path, "{mix: [{path: DIR/a.jsonl, limit: 100000}, {path: DIR/b.jsonl, limit: 5}]}")
    stage = next(stage for stage in limited.stages if stage.name == "sft")
    assert planned_lines(limited, stage) == []  # a limit is no number of rows either
    made = "{generator: {name: reasoning_gym, families: {gcd: {}}, rows: NUM, completions: bare}, rows: 20}"
    mix = ", ".join(made.replace("NUM", rows) for rows in ("20", "40"))
    pipeline = pipeline_of(tmp_path, f"{{mix: [{mix}]}}")
    stage = next(stage for stage in pipeline.stages if stage.name == "sft")
    assert [line.partition("; ")[2] for line in planned_lines(pipeline, stage)] == [
        "seen 1.0 times in 1 epoch",
        "seen 0.5 times in 1 epoch",
    ]


def test_validation_rows_are_held_out_and_accounted_for(tmp_path: Path) -> None:
    rows = rows_of(pipeline_of(tmp_path, "{path: DIR/a.jsonl, validation: {share: 0.4}}"), tmp_path)
    assert 0 < len(rows.held_out) < 10
    assert rows.account.counts() == {"validation": len(rows.held_out)}
    asked = [{row["prompt"][0]["content"] for row in side} for side in (rows.rows, rows.held_out)]
    assert asked[0].isdisjoint(asked[1])
    assert len(asked[0] | asked[1]) == 10


def test_validation_with_a_seed_holds_out_the_same_rows_in_every_stage(tmp_path: Path) -> None:
    seeded = pipeline_of(tmp_path, "{path: DIR/a.jsonl, validation: {share: 0.4, seed: 1}}")
    one, two = (rows_of(seeded, tmp_path, owner=owner).held_out for owner in ("one", "two"))
    assert one == two != []
    unseeded = pipeline_of(tmp_path, "{path: DIR/a.jsonl, validation: {share: 0.4}}")
    one, two = (rows_of(unseeded, tmp_path, owner=owner).held_out for owner in ("one", "two"))
    assert one != two


def test_solar_local_measures_its_three_losses_on_the_same_rows(tmp_path: Path) -> None:
    recipe = load_pipeline(Path(__file__).parent.parent / "configs" / "recipes" / "solar_local.yaml")
    held_out = [rows_of(recipe, tmp_path, name, name).held_out for name in ("before", "stacked", "healed")]
    assert held_out[0] == held_out[1] == held_out[2] != []


def test_cleaning_and_mixing_are_identity_only_where_they_are_asked_for(tmp_path: Path) -> None:
    plain = fingerprint(pipeline_of(tmp_path, "{path: DIR/a.jsonl}"), tmp_path)
    same = ["{path: DIR/a.jsonl, dedup: none}"]
    other = [
        "{path: DIR/a.jsonl, dedup: exact}",
        "{path: DIR/a.jsonl, dedup: near}",
        "{path: DIR/a.jsonl, dedup: near, near_threshold: 0.9}",
        "{path: DIR/a.jsonl, decontaminate: suites}",
        "{path: DIR/a.jsonl, decontaminate: {overlap: 0.5}}",
        "{path: DIR/a.jsonl, decontaminate: {against: [DIR/b.jsonl]}}",
        "{path: DIR/a.jsonl, validation: {share: 0.1}}",
        "{path: DIR/a.jsonl, validation: {share: 0.1, seed: 1}}",
        "{path: DIR/a.jsonl, validation: {share: 0.1, seed: 2}}",
        "{mix: [{path: DIR/a.jsonl, weight: 1}, {path: DIR/b.jsonl, weight: 1}]}",
        "{mix: [{path: DIR/a.jsonl, weight: 1}, {path: DIR/b.jsonl, weight: 2}]}",
        "{mix: [{path: DIR/b.jsonl, weight: 1}, {path: DIR/a.jsonl, weight: 1}]}",
    ]
    assert {fingerprint(pipeline_of(tmp_path, data), tmp_path) for data in same} == {plain}
    assert len({fingerprint(pipeline_of(tmp_path, data), tmp_path) for data in other} | {plain}) == len(other) + 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{path: DIR/a.jsonl, near_threshold: 0.9}", "near_threshold does nothing without dedup: near"),
        ("{path: DIR/a.jsonl, decontaminate: {ngram: 5}}", "short_ngram=8 is longer than ngram=5"),
        ("{path: DIR/a.jsonl, decontaminate: {against: [DIR/none.jsonl]}}", "there is no such file"),
        ("{path: DIR/a.jsonl, mix_rows: 5}", "mix_rows counts the rows of a mixture"),
        ("{mix: [{path: DIR/a.jsonl, weight: 1}, {path: DIR/b.jsonl}]}", "give every source one, or none"),
        ("{mix: [{path: DIR/a.jsonl, weight: 1, rows: 3}, {path: DIR/b.jsonl, weight: 1}]}", "a weight or rows"),
        ("{mix: [{path: DIR/a.jsonl, dedup: exact}, {path: DIR/b.jsonl}]}", "write it beside mix"),
        ("{mix: [{path: DIR/a.jsonl}, {path: DIR/b.jsonl}], format: alpaca}", "format belongs in the sources of mix"),
        ("{mix: [{path: DIR/a.jsonl}, stage:nowhere]}", "the stage nowhere does not exist"),
        ("{mix: [{path: DIR/a.jsonl}, {path: DIR/b.jsonl}], path: DIR/a.jsonl}", "exactly one source"),
    ],
)
def test_mistakes_are_told(tmp_path: Path, data: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pipeline_of(tmp_path, data)


def test_findings_of_a_mixture_are_told_by_source(tmp_path: Path) -> None:
    """The rows of b are numbered from 10 on; a row drawn twice counts twice. Found: row 3 of a, 12 and 13 of b."""
    rows = rows_of(pipeline_of(tmp_path, MIX), tmp_path)
    found = Examination(None, flagged={"two_bos": [3]}, noted={"duplicate": [12, 12, 13], "cut_by_limit": []})
    assert findings_by_source(rows, found) == {
        str(tmp_path / "a.jsonl"): {"rows": 5, "flagged": {"two_bos": 1}, "noted": {}},
        str(tmp_path / "b.jsonl"): {"rows": 15, "flagged": {}, "noted": {"duplicate": 3}},
    }
    plain = rows_of(pipeline_of(tmp_path, "{path: DIR/a.jsonl}"), tmp_path)
    assert findings_by_source(plain, found) == {}


def test_report_knows_the_parents_of_a_stage_that_has_not_run() -> None:
    """As the plan names them: the model, every source of a mixture, what measured and what scores."""
    data = {"mix": [{"stage": "pairs"}, {"path": "x"}, {"stage": "more"}], "difficulty": None}
    assert config_parents({"parent": "sft", "data": data}) == ["sft", "pairs", "more"]
    measured = {"path": "x", "difficulty": {"measured_by": "stage:probe"}}
    scored = {"parent": "sft", "data": measured, "reward_model": {"model": "stage:rm"}}
    assert config_parents(scored) == ["sft", "probe", "rm"]
    assert config_parents(scored | {"model": "bundled:tiny-random"}) == ["probe", "rm"]
