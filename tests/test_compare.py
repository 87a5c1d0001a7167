"""Runs compared: what differs, paired answers, seconds by phase, and runs that are unfinished, damaged or none."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from launch.cli import main
from tests.chromium import find_chromium, open_browser
from tests.fake_run import write_fake_run, write_lines
from tests.html_outline import Outline
from training.compare.comparison import compare_runs
from training.compare.learning import HEADLINES, overlays
from training.compare.page import comparison_page
from training.compare.runs import labels
from training.compare.settings import flatten
from training.compare.step_seconds import PhaseChange, Spread
from training.config import TRAINING_KINDS
from training.report.collect import read_lines, read_run
from training.report.curves import CHARTS
from training.whole_text import write_whole

Row = dict[str, Any]


@pytest.fixture
def before(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "before")


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """The same run in another folder; tests change what they are about."""
    return write_fake_run(tmp_path / "after")


def change_pipeline(run: Path, change: Callable[[Row], None]) -> None:
    path = run / "pipeline.resolved.json"
    pipeline = json.loads(path.read_text())
    change(pipeline)
    path.write_text(json.dumps(pipeline))


def change_rows(run: Path, stage: str, name: str, change: Callable[[Row], Row]) -> None:
    folder = read_run(run).stage(stage).folder
    write_lines(folder / name, [change(row) for row in read_lines(folder / name)])


def change_record(run: Path, stage: str, change: Callable[[Row], None]) -> None:
    path = read_run(run).stage(stage).folder / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def stage_of(pipeline: Row, name: str) -> Row:
    return next(stage for stage in pipeline["stages"] if stage["name"] == name)


def test_two_copies_of_a_run_differ_in_nothing(before: Path, after: Path) -> None:
    compared = compare_runs([before, after])
    assert compared.labels == ["before", "after"]
    assert (compared.config, compared.environment) == ([], [])
    assert compared.data == {name: [] for name in ("sft", "pairs", "dpo", "grpo")}
    assert all(one.same_experiment for one in compared.stages)
    assert {one.name for one in compared.stages if one.same_weights} == {"sft", "dpo", "grpo"}
    assert {(one.gained, one.lost, one.alone) for one in compared.accuracy} == {(0, 0, 0)}
    assert {one.step.verdict for one in compared.seconds} == {"no measurable change"}


def test_config_differences_name_the_key_and_both_values(before: Path, after: Path) -> None:
    def change(pipeline: Row) -> None:
        stage_of(pipeline, "dpo")["trainer"]["learning_rate"] = 2e-4
        pipeline["runtime"]["processes"] = 4
        pipeline["runtime"]["walltime"] = None  # a key of a later version, not set
        pipeline["written_at"] = "2026-11-23"

    change_pipeline(after, change)
    found = {one.key: one.values for one in compare_runs([before, after]).config}
    assert found == {
        "stages.dpo.trainer.learning_rate": {"before": 1e-4, "after": 2e-4},
        "runtime.processes": {"before": 2, "after": 4},
    }


def test_a_stage_of_one_run_alone_is_one_difference(before: Path, after: Path) -> None:
    change_pipeline(after, lambda pipeline: pipeline["stages"].remove(stage_of(pipeline, "dpo")))
    compared = compare_runs([before, after])
    assert [(one.key, one.values) for one in compared.config] == [("stages.dpo", {"before": "present"})]
    (dpo,) = [one for one in compared.stages if one.name == "dpo"]
    assert (dpo.states, dpo.same_experiment) == ({"before": "done", "after": "absent"}, None)


def test_a_block_of_an_older_version_s_run_is_one_difference(before: Path, after: Path) -> None:
    large = {"one": 1, "two": {"three": 3, "four": 4}, "five": 5, "six": 6}

    def change(pipeline: Row) -> None:
        stage_of(pipeline, "dpo")["health"] = large
        stage_of(pipeline, "grpo")["parity"] = {"every": 10, "rows": 8}

    change_pipeline(after, change)
    assert [(one.key, one.values) for one in compare_runs([before, after]).config] == [
        ("stages.dpo.health", {"after": "present"}),
        ("stages.grpo.parity.every", {"after": 10}),
        ("stages.grpo.parity.rows", {"after": 8}),
    ]


def test_what_those_that_have_a_block_disagree_on_is_shown_beside_it(before: Path, after: Path, tmp_path: Path) -> None:
    third = write_fake_run(tmp_path / "third")
    for path, rank in ((before, 8), (after, 16)):
        block = {"r": rank, "alpha": 16, "dropout": 0.1, "targets": "all-linear", "save": "merged"}
        change_pipeline(path, lambda pipeline, block=block: stage_of(pipeline, "dpo").update(lora=block))
    assert [(one.key, one.values) for one in compare_runs([before, after, third]).config] == [
        ("stages.dpo.lora", {"before": "present", "after": "present"}),
        ("stages.dpo.lora.r", {"before": 8, "after": 16}),
    ]


def test_the_page_is_written_though_nobody_reads_the_text(before: Path, after: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    command = [sys.executable, "-m", "launch", "compare", str(before), str(after), "--html", str(page)]
    reader = subprocess.Popen(["true"], stdin=subprocess.PIPE)
    reader.wait()
    subprocess.run(command, stdout=reader.stdin, stderr=subprocess.DEVNULL, check=False)
    assert page.read_text().startswith("<!doctype html>")


def test_a_folder_in_place_of_the_page_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is a folder; name a file"):
        write_whole(tmp_path, "page")


def test_flatten_meets_named_entries_by_name_and_keeps_other_lists_whole() -> None:
    block = {"stages": [{"name": "sft", "data": {"mix": [{"path": "a"}, {"path": "b"}]}, "gate": None}]}
    assert dict(flatten(block)) == {"stages.sft.data.mix": [{"path": "a"}, {"path": "b"}]}


def test_data_differences_tell_rows_hash_and_what_was_dropped(before: Path, after: Path) -> None:
    def change(record: Row) -> None:
        record["data"] |= {"rows_kept": 900, "rows_sha256": "ef" * 32}
        record["data"]["dropped"] = {"prompt_too_long": 12, "duplicate": 88}

    change_record(after, "sft", change)
    found = compare_runs([before, after]).data
    assert {one.key: one.values for one in found["sft"]} == {
        "rows_kept": {"before": 988, "after": 900},
        "dropped.duplicate": {"after": 88},
        "rows_sha256": {"before": "cd" * 32, "after": "ef" * 32},
    }
    assert found["grpo"] == []


def test_environment_differences_do_not_tell_of_the_base(before: Path, after: Path) -> None:
    def change(record: Row) -> None:
        record["environment"]["packages"] = {**record["environment"]["packages"], "trl": "1.17.0"}

    change_record(after, "base", change)
    assert compare_runs([before, after]).environment == []
    change_record(after, "dpo", change)
    (found,) = compare_runs([before, after]).environment
    assert (found.key, found.values) == ("packages.trl", {"before": "1.16.0", "after": "1.16.0, 1.17.0"})


def test_accuracy_is_paired_on_the_same_questions_alone(before: Path, after: Path) -> None:
    """By hand: 128 items, all right after and the first 64 right before; item 0 is another question, item 1 is gone.
    126 pairs: items 2 to 63 right twice, 64 to 127 gained, so the gain is 64/126."""

    def number(row: Row) -> int:
        return int(row["item"].rpartition("-")[2])

    change_rows(before, "evaluate-sft", "items.jsonl", lambda row: row | {"correct": int(number(row) < 64)})
    change_rows(
        after,
        "evaluate-sft",
        "items.jsonl",
        lambda row: row | {"correct": 1} | ({"prompt": "another"} if number(row) == 0 else {}),
    )
    folder = read_run(after).stage("evaluate-sft").folder
    write_lines(folder / "items.jsonl", [row for row in read_lines(folder / "items.jsonl") if number(row) != 1])
    (pair,) = [
        one
        for one in compare_runs([before, after]).accuracy
        if (one.model, one.other, one.suite) == ("sft", "sft", "in_domain")
    ]
    assert (pair.gained, pair.lost, pair.alone) == (64, 0, 2)
    assert pair.paired is not None
    assert pair.paired.gain == pytest.approx(64 / 126)
    assert (pair.paired.n, pair.paired.verdict) == (126, "better")


def test_runs_without_a_question_in_common_are_not_paired(before: Path, after: Path) -> None:
    for model in ("base", "sft", "dpo", "grpo"):
        change_rows(after, f"evaluate-{model}", "items.jsonl", lambda row: row | {"prompt": f"new {row['prompt']}"})
    compared = compare_runs([before, after])
    assert [one.paired for one in compared.accuracy] == [None] * 8
    assert "no question is the same" in comparison_page(compared)


def test_last_models_are_compared_where_their_names_differ(before: Path, tmp_path: Path) -> None:
    shorter = write_fake_run(tmp_path / "shorter", finished="evaluate-dpo")
    pairs = {(one.model, one.other) for one in compare_runs([before, shorter]).accuracy}
    assert pairs == {("base", "base"), ("sft", "sft"), ("dpo", "dpo"), ("dpo", "grpo")}


def test_the_phase_that_got_slower_is_named_with_its_seconds(before: Path, after: Path) -> None:
    """A second more of generating in every step: the step is a second slower, and so is that phase alone."""

    def slower(row: Row) -> Row:
        return row | {name: row[name] + 1.0 for name in ("timing_s/generate", "timing_s/step")}

    change_rows(after, "grpo", "metrics.jsonl", slower)
    found = {one.stage: one for one in compare_runs([before, after]).seconds}
    grpo = found["grpo"]
    assert grpo.step.seconds == pytest.approx(1.0)
    assert grpo.step.verdict == "slower"
    assert (grpo.phases[0].phase, grpo.phases[0].seconds) == ("generate", pytest.approx(1.0))
    assert {one.verdict for one in grpo.phases[1:]} == {"no measurable change"}
    assert "mostly generate (+1.00 s)" in grpo.words
    assert found["sft"].step.verdict == "no measurable change"


def test_the_first_step_warms_up_and_is_left_out(before: Path, after: Path) -> None:
    change_rows(after, "sft", "metrics.jsonl", lambda row: row | {"timing_s/step": 99.0} if row["step"] == 1 else row)
    (sft,) = [one for one in compare_runs([before, after]).seconds if one.stage == "sft"]
    assert (sft.step.seconds, sft.step.after.n) == (pytest.approx(0.0), 39)


def test_a_longer_step_with_more_tokens_says_so(before: Path, after: Path) -> None:
    """Twice the seconds at the same tokens/s: twice the tokens."""
    change_rows(after, "sft", "metrics.jsonl", lambda row: row | {"timing_s/step": 2 * row["timing_s/step"]})
    (sft,) = [one for one in compare_runs([before, after]).seconds if one.stage == "sft"]
    assert "a step has 100 % more tokens" in sft.words


def test_an_interval_around_zero_is_no_change() -> None:
    same = Spread(1.0, 0.1, 10)
    assert PhaseChange("data", same, same, -0.1, 0.1).verdict == "no measurable change"
    assert PhaseChange("data", same, Spread(1.5, 0.1, 10), 0.4, 0.6).verdict == "slower"
    assert PhaseChange("data", same, Spread(0.5, 0.1, 10), -0.6, -0.4).verdict == "faster"
    assert PhaseChange("data", Spread(0.0, 0.0, 10), same, 0.9, 1.1).share is None


def test_curves_of_one_metric_lie_over_one_another(before: Path, after: Path) -> None:
    found = {(one.stage, one.metric): one for one in overlays(compare_runs([before, after]).runs)}
    loss = found["sft", "loss"]
    assert [one.label for one in loss.series] == ["before", "after"]
    assert [len(one.points) for one in loss.series] == [40, 40]
    assert loss.series[0].colour != loss.series[1].colour
    assert ("grpo", "reward/answer") in found


def test_every_kind_that_trains_has_headlines_and_charts() -> None:
    assert HEADLINES.keys() == CHARTS.keys() == set(TRAINING_KINDS)


def test_page_is_whole_html_with_every_section_and_no_script(before: Path, after: Path) -> None:
    change_pipeline(after, lambda pipeline: stage_of(pipeline, "sft")["trainer"].update(learning_rate="<script>"))
    page = Outline(comparison_page(compare_runs([before, after])))
    sections = [section["id"] for section in page.all("section")]
    assert sections == ["accuracy", "time", "curves", "config", "data", "stages"]
    assert [link["href"] for link in page.all("a")] == [f"#{name}" for name in sections]
    assert page.all("script") == []
    assert "<script>" in page.text


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


@pytest.mark.slow
def test_two_runs_of_ten_thousand_steps_make_a_small_page_in_seconds(before: Path, after: Path) -> None:
    for run in (before, after):
        folder = read_run(run).stage("grpo").folder
        rows = read_lines(folder / "metrics.jsonl")
        write_lines(folder / "metrics.jsonl", [rows[n % len(rows)] | {"step": n + 1} for n in range(10_000)])
    began = time.process_time()
    page = comparison_page(compare_runs([before, after]))
    assert time.process_time() - began < 10.0
    assert len(page.encode()) < 10_000_000


@pytest.mark.browser
@pytest.mark.skipif(find_chromium() is None, reason="needs Chromium (apt-get install chromium)")
@pytest.mark.parametrize("width", [1200, 390])
def test_page_in_a_browser_draws_its_charts_silently_and_offline(before: Path, after: Path, width: int) -> None:
    path = before.parent / "page.html"
    path.write_text(comparison_page(compare_runs([before, after])))
    with open_browser(before.parent / "profile") as browser:
        browser.open(path, width)
        lengths = browser.evaluate("[...document.querySelectorAll('polyline.bold')].map(e => e.getTotalLength())")
        strips = browser.evaluate(
            "[...document.querySelectorAll('svg.strip, svg.bar')].filter(e => e.checkVisibility())"
            ".map(e => e.getBoundingClientRect().width)"
        )
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert len(lengths) > 30
    assert min(lengths) > 200
    assert min(strips) > 50
    assert browser.messages == []
    assert [url for url in browser.requests[1:] if not url.startswith("data:")] == []
