"""Parts of the report: what it shows of alarms, samples, data and a long run, and of a run that is broken."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from data.errors import UserError
from launch.cli import main
from tests.fake_run import write_fake_run, write_lines
from tests.html_outline import Outline
from training.config.stages import TRAINING_KINDS
from training.metric_names import describe
from training.report import write_report
from training.report.collect import read_run
from training.report.curves import CHARTS
from training.report.line_files import first_lines, last_lines, numbered_lines, read_lines
from training.summary import summarise

LONG_STEPS = 10_000


def text_of(run: Path) -> str:
    """The visible text of the run's report."""
    return Outline(write_report(run).read_text()).text


def folder_of(run: Path, stage: str) -> Path:
    """The folder of a stage."""
    folder = read_run(run).stage(stage).folder
    assert folder is not None
    return folder


def lengthen(run: Path, stage: str, steps: int, more: dict[str, float]) -> Path:
    """Have a stage of a made-up run log so many steps, and return its metrics.jsonl."""
    path = folder_of(run, stage) / "metrics.jsonl"
    rows = read_lines(path)
    write_lines(path, [{**rows[step % len(rows)], **more, "step": step + 1} for step in range(steps)])
    return path


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_fake_run(tmp_path / "quickstart")


def test_health_shows_each_alarm_with_the_completions_that_it_names(run: Path) -> None:
    rows = read_lines(folder_of(run, "grpo") / "samples.jsonl")
    text = text_of(run)
    assert "62% of the completions of 5 rounds are cut off" in text
    assert "3 named, lines 23, 24, 999 of samples.jsonl; no longer there: 1" in text
    for row in rows[22:24]:
        assert row["prompt"] in text


def test_health_of_a_run_without_alarms_says_so(run: Path) -> None:
    (folder_of(run, "grpo") / "alarms.jsonl").unlink()
    assert "No detector found anything in sft, dpo, grpo" in text_of(run)


def test_health_shows_interventions_and_the_rows_kept_from_before_a_rollback(run: Path) -> None:
    folder = folder_of(run, "grpo")
    record = json.loads((folder / "record.json").read_text())
    record["interventions"] = [
        {"action": "rollback", "step": 12, "detector": "truncation", "to_step": 8, "learning_rate": 5e-5}
        | {"samples": "rollback1.samples.jsonl"}
    ]
    (folder / "record.json").write_text(json.dumps(record))
    write_lines(folder / "rollback1.samples.jsonl", [{"step": 12, "prompt": "the evidence", "completion": "kept"}])
    text = text_of(run)
    assert "rollback for truncation" in text
    assert "5e-05" in text
    assert "the evidence" in text


def test_samples_show_base_and_last_model_with_scores_and_tokens(run: Path) -> None:
    page = write_report(run).read_text()
    tag = page.index('class="tag gained"')
    card = page[page.rindex("<article", 0, tag) : page.index("</article>", tag)] + "</article>"
    text = Outline(card).text
    assert card.count('class="reply"') == 4
    assert re.findall(r"(base|sft|dpo|grpo)(wrong|right), (?:not )?in the format, 2\d tokens", text) == [
        ("base", "wrong"),
        ("grpo", "right"),
        *re.findall(r"(sft|dpo)(wrong|right)", text),
    ]
    assert "The 2 models between" in text


def test_data_shows_lengths_findings_and_the_first_rows_dropped(run: Path) -> None:
    text = text_of(run)
    assert "median 67, longest 117" in text
    assert "8 duplicate" in text
    assert "reasoning_gym row 7" in text
    assert "301 tokens" in text


def test_environment_has_the_commit_and_the_command(run: Path) -> None:
    assert f"git checkout {'4d3c2b1a' * 5}\nposttrain run configs/quickstart.yaml" in text_of(run)


def test_report_of_ten_thousand_steps_is_quick_and_small(tmp_path: Path) -> None:
    """Issue 8: under 5 s and 10 MB, with as many metrics a step as a stage on two ranks writes."""
    run = write_fake_run(tmp_path)
    phases = {f"timing_s_{kind}/phase{number}": 0.123456789 for kind in ("min", "max") for number in range(16)}
    lengthen(run, "grpo", LONG_STEPS, phases)
    started = time.process_time()
    page = write_report(run)
    assert time.process_time() - started < 5
    assert page.stat().st_size < 10e6
    assert "10,000 optimizer steps" in page.read_text()


def test_curves_of_a_long_run_keep_the_extremes_and_name_what_is_not_finite(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    path = lengthen(run, "sft", 900, {})
    rows = read_lines(path)
    rows[449]["grad_norm"] = 77.5
    rows[600]["loss"] = float("nan")
    write_lines(path, rows)
    page = write_report(run).read_text()
    assert "highest 77.5" in page
    assert 'class="band"' in page
    assert "nats, 1 steps not a finite number" in Outline(page).text


def test_lines_of_a_file_are_found_from_both_ends_and_by_number(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [{"number": number, "text": "\u2028" * (number % 7000)} for number in range(1, 401)]
    write_lines(path, rows)
    with path.open("a") as sink:
        sink.write('{"number": 401, "te')
    assert first_lines(path, 3) == rows[:3]
    assert last_lines(path, 5) == rows[-5:]
    assert last_lines(path, 1000) == rows
    assert numbered_lines(path, [2, 400, 401, 999]) == {2: rows[1], 400: rows[399]}
    assert last_lines(tmp_path / "none.jsonl", 2) == first_lines(tmp_path / "none.jsonl", 2) == []


def test_report_of_a_run_without_its_pipeline_shows_the_stages_that_have_a_record(run: Path) -> None:
    before = summarise(run)
    (run / "pipeline.resolved.json").unlink()
    after = summarise(run)
    assert [row.scores for row in after.rows] == [row.scores for row in before.rows]
    assert "pipeline.resolved.json is missing" in text_of(run)


@pytest.mark.parametrize("content", ["{", "[]", '{"stages": 3}'])
def test_report_of_a_run_with_a_foreign_pipeline_says_so(run: Path, content: str) -> None:
    (run / "pipeline.resolved.json").write_text(content)
    assert "This run is damaged" in text_of(run)


def test_report_of_a_folder_without_pipeline_and_records_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "00-base-2a196206").mkdir()
    with pytest.raises(UserError, match="is not a run folder"):
        write_report(tmp_path)


@pytest.mark.parametrize("content", ["{", '{"schema_version": 99}'])
def test_report_names_a_record_that_cannot_be_read_and_shows_the_rest(run: Path, content: str) -> None:
    (folder_of(run, "dpo") / "record.json").write_text(content)
    text = text_of(run)
    assert "This run is damaged" in text
    assert "dpo: 05-dpo-" in text
    assert str(run) not in text
    assert "grpo against base" in text


def test_report_names_lost_files_and_lost_folders(run: Path) -> None:
    weights = folder_of(run, "sft") / "model" / "model.safetensors"
    weights.unlink()
    shutil.rmtree(folder_of(run, "base"))
    text = text_of(run)
    assert "sft: model/model.safetensors is missing" in text
    assert "base: its folder is gone, though evaluate-base was made from it" in text


def test_report_without_the_rows_of_an_evaluation_keeps_its_accuracy(run: Path) -> None:
    (folder_of(run, "evaluate-grpo") / "items.jsonl").unlink()
    summary = summarise(run)
    assert "in_domain" in summary.rows[-1].scores
    assert [one.model for one in summary.over_base if one.suite == "in_domain"] == ["sft", "dpo"]
    assert "grpo" in text_of(run)


def test_report_of_a_record_with_other_content_names_the_part_that_is_lost(run: Path) -> None:
    folder = folder_of(run, "grpo")
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(
        json.dumps(record | {"ledger": {"timing_s": {"data": "long"}}, "metrics": None})
    )
    evaluation = folder_of(run, "evaluate-dpo")
    record = json.loads((evaluation / "record.json").read_text())
    (evaluation / "record.json").write_text(json.dumps(record | {"metrics": {"in_domain": {"accuracy": 1}}}))
    text = text_of(run)
    assert "This part cannot be shown" in text
    assert "evaluate-dpo: its record has no usable score of in_domain" in text
    assert "grpo against base" in text


def test_report_says_where_and_how_a_crashed_stage_ended(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path, finished="evaluate-base")
    ranks = folder_of(run, "sft") / "ranks"
    ranks.mkdir()
    state = {"outcome": "failed", "message": "CUDA out of memory\nmore", "step": 20, "max_steps": 40}
    (ranks / "0.json").write_text(json.dumps(state))
    assert "sft: unfinished, at step 20 of 40, failed: CUDA out of memory" in summarise(run).missing


def test_samples_of_many_suites_and_of_rows_without_a_completion_are_bounded(run: Path) -> None:
    """Benchmarks have a suite for each task, and tasks judged by likelihood have no completion."""
    for model in ("base", "grpo"):
        path = folder_of(run, f"evaluate-{model}") / "items.jsonl"
        own = {"item": "0", "correct": float(model == "grpo"), "format": None, "answer": "B", "completion": None}
        write_lines(path, [*read_lines(path), *({**own, "suite": f"mmlu/{task}"} for task in range(20))])
    text = text_of(run)
    assert "mmlu/5the same question" in text
    assert "mmlu/6the same question" not in text
    assert "14 more suites" in text


def test_report_command_takes_a_run_whose_pipeline_file_is_lost(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (run / "pipeline.resolved.json").unlink()
    assert main(["report", str(run)]) == 0
    told = capsys.readouterr().out
    assert "damaged: pipeline.resolved.json is missing" in told
    assert "grpo against base" in told


def test_every_kind_that_trains_has_curves_of_metrics_that_it_writes() -> None:
    assert set(CHARTS) == set(TRAINING_KINDS)
    for kind, charts in CHARTS.items():
        for name in (name for names in charts for name in names):
            metric = describe(name)
            assert metric is not None, name
            assert kind in metric.kinds, (kind, name)
