"""`posttrain compare`: runs that are unfinished, damaged or none, JSON, sweeps, labels."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from data.errors import UserError
from launch.cli import main
from tests.changed_run import change_record
from tests.fake_run import write_fake_run
from tests.html_outline import Outline
from training.compare.comparison import compare_runs
from training.compare.runs import labels
from training.report.collect import read_run


@pytest.mark.parametrize("finished", ["base", "evaluate-base", "sft", "pairs", "evaluate-dpo"])
def test_an_unfinished_run_is_compared_as_far_as_it_is(
    before: Path, tmp_path: Path, finished: str, capsys: pytest.CaptureFixture[str]
) -> None:
    short = write_fake_run(tmp_path / "short", finished=finished)
    assert main(["compare", str(before), str(short), "--html", str(tmp_path / "page.html")]) == 0
    shown = capsys.readouterr().out
    assert "missing in short: evaluate-grpo: not run" in shown
    assert "evaluate-grpo: not run" in Outline((tmp_path / "page.html").read_text()).text


def lose_pipeline(run: Path) -> str:
    (run / "pipeline.resolved.json").unlink()
    return "pipeline.resolved.json is missing"


def lose_stage(run: Path) -> str:
    shutil.rmtree(read_run(run).stage("sft").folder)
    return "sft: its folder is gone"


def break_record(run: Path) -> str:
    (read_run(run).stage("dpo").folder / "record.json").write_text("{")
    return "dpo: "


def foreign_record(run: Path) -> str:
    change_record(run, "dpo", lambda record: record.update(schema_version=99))
    return "schema_version 99"


def lose_items(run: Path) -> str:
    (read_run(run).stage("evaluate-sft").folder / "items.jsonl").unlink()
    return "sft, in_domain"


def foreign_items(run: Path) -> str:
    (read_run(run).stage("evaluate-sft").folder / "items.jsonl").write_text('{"suite": "in_domain"}\n[]\nnot JSON\n')
    return "items.jsonl are not as written"


def foreign_metrics(run: Path) -> str:
    text = '{"step": "one", "loss": NaN}\n{"loss": 1.0}\n{"step": 2, "timing_s/step": null}\n\xff'
    (read_run(run).stage("grpo").folder / "metrics.jsonl").write_text(text, encoding="latin-1")
    return "accuracy"


DAMAGE = [lose_pipeline, lose_stage, break_record, foreign_record, lose_items, foreign_items, foreign_metrics]


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("place", [0, 1])
def test_a_damaged_run_says_what_is_missing_and_shows_the_rest(
    before: Path, after: Path, damage: Callable[[Path], str], place: int, capsys: pytest.CaptureFixture[str]
) -> None:
    said = damage((before, after)[place])
    page = before.parent / "page.html"
    assert main(["compare", str(before), str(after), "--html", str(page)]) == 0
    shown = capsys.readouterr().out
    assert said in shown
    assert "base, in_domain" in shown
    Outline(page.read_text())


def test_json_has_everything_and_nothing_else_is_printed(
    before: Path, after: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(before), str(after), "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [run["label"] for run in content["runs"]] == ["before", "after"]
    assert content["accuracy"][0]["paired"]["verdict"] == "no measurable change"
    assert {one["stage"] for one in content["step_seconds"]} == {"sft", "dpo", "grpo"}
    assert content["step_seconds"][0]["phases"][0]["verdict"] == "no measurable change"
    assert set(content["wall_s"]["sft"]) == {"before", "after"}


def test_the_folder_of_a_sweep_stands_for_its_points(
    before: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("lr-1", "lr-2", "lr-3"):
        write_fake_run(tmp_path / "sweep" / name)
    assert main(["compare", str(tmp_path / "sweep"), "--json"]) == 0
    assert [run["label"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["lr-1", "lr-2", "lr-3"]
    assert main(["compare", str(before), str(tmp_path / "sweep" / "lr-2"), "--json"]) == 0


@pytest.mark.parametrize("content", [None, {}, {"notes.txt": "mine"}, {"pipeline.resolved.json": "[]"}])
def test_a_folder_that_is_no_run_is_refused_with_exit_2(
    before: Path, tmp_path: Path, content: dict[str, str] | None, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other"
    if content is not None:
        other.mkdir()
        for name, text in content.items():
            (other / name).write_text(text)
    assert main(["compare", str(before), str(other)]) == 2
    assert "run" in capsys.readouterr().err


def test_one_run_alone_is_refused_with_exit_2(before: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(before)]) == 2
    assert "at least two runs" in capsys.readouterr().err
    with pytest.raises(UserError):
        compare_runs([before])


def test_labels_are_the_shortest_ends_that_tell_paths_apart(tmp_path: Path) -> None:
    assert labels([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]
    assert labels([tmp_path / "a", tmp_path / "b"]) == ["a", "b"]
    assert labels([tmp_path / "a", tmp_path / "a"]) == ["a (1)", "a (2)"]
