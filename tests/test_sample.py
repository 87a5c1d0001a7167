"""Sample stages run on the tiny model: draws that last, several temperatures, judges, teachers, difficulty."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import training.sample_draws
from launch.lineage import prove
from tests.stage_runs import planned, run_stage, stage, write_pipeline
from training.config import load_pipeline
from training.finished_prompts import FINISHED_PROMPTS, FinishedPrompts, prompt_keys
from training.plan import plan_run
from training.record import read_record, verify_record

JUDGES = """
import pathlib

def longest(completions, prompts, conversation, **columns):
    assert len(completions) == 4 and all(prompt.startswith("Count") for prompt in prompts)
    assert conversation[0][-1]["content"] == prompts[0]
    return [len(set(text)) / 10 for text in completions]

def raising(completions, prompts, **columns):
    raise TimeoutError("the service is away")

def service(completions, prompts, **columns):
    if prompts[0] in pathlib.Path("away").read_text().split(","):
        raise TimeoutError("the service is away")
    return [len(text) for text in completions]
"""
LONGEST = {"callable": "own_judges:longest", "version": 1}


@pytest.fixture
def judges(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_judges.py").write_text(JUDGES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "own_judges", raising=False)


def lines(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def finished(config: Path, name: str = "sample") -> Path:
    """Run a stage that must end well; returns its folder."""
    assert run_stage(config, name) == 0
    folder = planned(config, name).folder
    assert verify_record(folder) == []
    return folder


def sample(folder: Path, **fields: Any) -> Path:
    return write_pipeline(folder, stage("sample", folder=folder, batch_size=8, **fields))


def test_interrupted_stage_goes_on_behind_its_finished_prompts_to_the_same_draws(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four groups of four prompts; the process dies while the third is drawn, and the last line is cut besides."""
    config = sample(tmp_path, temperature=[0.7, 1.3])
    assert run_stage(config, "sample", "--run-dir", str(tmp_path / "whole")) == 0
    expected = next((tmp_path / "whole").glob("*-sample-*"))
    draw, calls = training.sample_draws._draw, []

    def counted(*arguments: Any) -> Any:
        calls.append(len(arguments[-1]))
        if sum(calls) > 8 and len(calls) == 3:
            raise RuntimeError("the power went out")
        return draw(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(training.sample_draws, "_draw", counted)
        assert run_stage(config, "sample") == 1
        folder = planned(config, "sample").folder
        assert planned(config, "sample").reason == "resume: behind the prompts that are drawn already"
        path = folder / FINISHED_PROMPTS / "0.jsonl"
        done = sum(len(json.loads(line)) for line in path.read_text().splitlines())
        assert done == 8
        path.write_bytes(path.read_bytes() + b'{"cut": {"prom')
        calls.clear()
        capsys.readouterr()
        assert run_stage(config, "sample") == 0
    assert sum(calls) == 16 - done
    assert "8 of 16 prompts of this rank are drawn already" in capsys.readouterr().out
    for name in ("draws.jsonl", "data.jsonl", "pass_rates.jsonl"):
        assert (folder / name).read_text() == (expected / name).read_text()
    assert verify_record(folder) == []
    assert not (folder / FINISHED_PROMPTS).exists()


def test_draws_say_their_temperature_and_spread_with_it(tmp_path: Path) -> None:
    """At temperature 0.01 a random model repeats itself; at 2 no two of its completions are alike."""
    folder = finished(sample(tmp_path, temperature=[0.01, 2.0]))
    for row in lines(folder, "draws.jsonl"):
        assert [draw["temperature"] for draw in row["draws"]] == [0.01, 0.01, 2.0, 2.0]
        texts = [draw["completion"] for draw in row["draws"]]
        assert texts[0] == texts[1]
        assert texts[2] != texts[3]
    assert set(read_record(folder)["metrics"]["mean_reward_at"]) == {"0.01", "2"}  # type: ignore[index]


def test_draws_of_a_prompt_do_not_depend_on_the_other_prompts(tmp_path: Path) -> None:
    """The seed is the prompt's own: with twice the rows, the first ones are drawn as before."""
    drawn = []
    for rows in (8, 16):
        folder = tmp_path / str(rows)
        folder.mkdir()
        block = stage("sample", folder=folder, rows=rows)
        config = write_pipeline(folder, block)
        by_prompt = {row["answer"]: row["draws"] for row in lines(finished(config), "draws.jsonl")}
        drawn.append(by_prompt)
    assert {answer: drawn[1][answer] for answer in drawn[0]} == drawn[0]


def test_finished_prompts_of_every_rank_are_found_and_equal_rows_are_told_apart(tmp_path: Path) -> None:
    rows = [{"prompt": "a"}, {"prompt": "b"}, {"prompt": "a"}]
    keys = prompt_keys(rows)
    assert len(set(keys)) == 3
    assert prompt_keys(rows[::2]) == [keys[0], keys[2]]
    for rank in (0, 1):
        shelf = FinishedPrompts(tmp_path, rank)
        shelf.add({keys[rank]: {"rank": rank, "text": "\ud800\u2028"}})
        shelf.close()
    again = FinishedPrompts(tmp_path, 5)
    assert [again.rows[key]["rank"] for key in keys[:2]] == [0, 1]
    assert keys[2] not in again


@pytest.mark.usefixtures("judges")
def test_judge_scores_all_draws_of_a_prompt_and_adds_to_the_rewards(tmp_path: Path) -> None:
    block = stage("sample", folder=tmp_path, batch_size=8, judge=LONGEST | {"weight": 2.0})
    limits = {"reward_time_limit": 7.5, "reward_memory_gb": 3.0}
    folder = finished(write_pipeline(tmp_path, block, runtime=limits))
    for row in lines(folder, "draws.jsonl"):
        for draw in row["draws"]:
            judged = len(set(draw["completion"])) / 10
            assert draw["rewards"]["judge"] == pytest.approx(judged)
            assert draw["reward"] == pytest.approx(draw["rewards"]["length"] + 2 * judged)
    record = read_record(folder)
    assert record is not None
    assert [reward["name"] for reward in record["rewards"]] == ["length", "judge"]
    assert limits.items() <= record["environment"].items()


@pytest.mark.usefixtures("judges")
def test_judge_is_part_of_the_identity_by_source_and_version_and_one_that_fails_stops_the_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = {"rewards": [], "judge": LONGEST}
    before = planned(sample(tmp_path, **alone), "sample").fingerprint
    assert planned(sample(tmp_path, rewards=[], judge=LONGEST | {"version": 2}), "sample").fingerprint != before
    (tmp_path / "own_judges.py").write_text(JUDGES + "\n# changed\n")
    assert planned(sample(tmp_path, **alone), "sample").fingerprint != before
    config = sample(tmp_path, rewards=[], judge={"callable": "own_judges:raising", "version": 1})
    assert run_stage(config, "sample") == 4
    assert "could not be judged" in capsys.readouterr().err


@pytest.mark.usefixtures("judges")
def test_resumed_stage_scores_again_what_had_no_score_and_counts_what_had_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Groups of two prompts with four draws each; the judge's service is away for one prompt, then for all, then back.

    Stopped by the power after four groups, one prompt's draws unscored. The next attempt has 28 good completions behind
    it, so a dead judge stops it at (4 + 4 x 4) of (32 + 16): 41.7 %, not at the first twenty completions.
    """
    config = sample(tmp_path, judge={"callable": "own_judges:service", "version": 1}, max_error_rate=0.4)
    away = Path("away")
    away.write_text("")
    assert run_stage(config, "sample", "--run-dir", str(tmp_path / "whole")) == 0
    folder = planned(config, "sample").folder
    draw, drawn = training.sample_draws._draw, []

    def counted(*arguments: Any) -> Any:
        drawn.extend(arguments[-1])
        if len(drawn) == 10:
            raise RuntimeError("the power went out")
        return draw(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(training.sample_draws, "_draw", counted)
        away.write_text("Count 1")
        assert run_stage(config, "sample") == 1
        shelf = FinishedPrompts(folder, 0)
        assert [key for key in shelf.rows if not shelf.scored(key)] == [
            key for key, row in shelf.rows.items() if row["answer"] == "1"
        ]
        away.write_text(",".join(f"Count {number}" for number in range(16)))
        capsys.readouterr()
        assert run_stage(config, "sample") == 4
        assert "20 of 48 completions could not be judged" in capsys.readouterr().err
        away.write_text("")
        assert run_stage(config, "sample") == 0
    assert len(drawn) == 16 + 2 + 2  # lost to the power and to the stop, no other twice
    assert (folder / "draws.jsonl").read_text() == (tmp_path / "whole" / folder.name / "draws.jsonl").read_text()


def test_teacher_draws_in_place_of_the_parent_and_stands_in_the_lineage(tmp_path: Path, tiny_model: Path) -> None:
    """The teacher is the tiny model itself under another name: the draws are the base's, the parents are not."""
    draws = []
    for model in (None, str(tiny_model)):
        folder = tmp_path / str(model is None)
        folder.mkdir()
        config = sample(folder, model=model)
        made = finished(config)
        draws.append((made / "draws.jsonl").read_text())
        record = read_record(made)
        assert record is not None
        assert [parent["stage"] for parent in record["parents"]] == ([] if model else ["base"])
        assert ("teacher/model.safetensors" in record["files"]) == (model is not None)
        proof = prove(made)
        assert proof.problems == []
        assert ("teacher: files " in proof.text) == (model is not None)
    assert draws[0] == draws[1]
    assert (
        record["identity"]["drawing"]["model"]["files"]["model.safetensors"]
        == record["files"]["teacher/model.safetensors"]
    )


def test_model_stage_name_is_short_for_from(tmp_path: Path) -> None:
    sft = stage("sft", folder=tmp_path)
    fingerprints = set()
    fields: dict[str, Any]
    for fields in ({"from": "sft"}, {"model": "stage:sft"}):
        block = stage("sample", folder=tmp_path, **fields)
        config = write_pipeline(tmp_path, sft, stage("dpo", folder=tmp_path), block)
        fingerprints.add(planned(config, "sample").fingerprint)
        assert planned(config, "sample").parents == ["sft"]
    assert len(fingerprints) == 1


def test_pass_rates_choose_the_prompts_of_a_later_stage(tmp_path: Path) -> None:
    """`probe` keeps every prompt; later stages read its pass rates from these rows, or name it as the one to ask."""
    probe = stage("sample", "probe", folder=tmp_path, pass_at_least=-0.45, keep="prompts")
    probe.pop("min_margin")
    bounds = {"at_least": 0.2, "at_most": 0.8}
    own = {**stage("sample", "own", folder=tmp_path), "data": {"stage": "probe", "difficulty": bounds}}
    other = stage("sample", "other", folder=tmp_path)
    other["data"]["difficulty"] = {**bounds, "measured_by": "stage:probe"}
    config = write_pipeline(tmp_path, probe, own, other)
    rates = {row["answer"]: row["pass_rate"] for row in lines(finished(config, "probe"), "pass_rates.jsonl")}
    chosen = sorted(answer for answer, rate in rates.items() if 0.2 <= rate <= 0.8)
    assert 0 < len(chosen) < 16
    for name in ("own", "other"):
        folder = finished(config, name)
        assert sorted(row["answer"] for row in lines(folder, "draws.jsonl")) == chosen
        record = read_record(folder)
        assert record is not None
        dropped = record["data"]["dropped"]
        assert dropped.get("too_hard", 0) == sum(rate < 0.2 for rate in rates.values())
        assert dropped.get("too_easy", 0) == sum(rate > 0.8 for rate in rates.values())
        assert [parent["stage"] for parent in record["parents"]] == ["base", "probe"]


def test_difficulty_without_pass_rates_says_where_to_get_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    block = stage("sample", folder=tmp_path)
    block["data"]["difficulty"] = {"at_least": 0.1}
    assert run_stage(write_pipeline(tmp_path, block), "sample") == 2
    shown = capsys.readouterr().err
    assert "stages.sample.data.difficulty: no row has a pass rate" in shown
    assert "measured_by: stage:NAME" in shown
    measured = tmp_path / "rates.jsonl"
    measured.write_text('{"prompt": "Count 3", "pass_rate": 2}\n')
    block["data"]["difficulty"] |= {"measured_by": str(measured)}
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, "sample") == 2
    assert "has pass_rate 2; it is a share from 0 to 1" in capsys.readouterr().err
    before = plan_run(load_pipeline(config), tmp_path / "runs")["sample"].fingerprint
    measured.write_text('{"prompt": "count  3", "pass_rate": 0.5}\n')
    assert plan_run(load_pipeline(config), tmp_path / "runs")["sample"].fingerprint != before
    folder = finished(config)
    assert [row["answer"] for row in lines(folder, "draws.jsonl")] == ["3"]
    record = read_record(folder)
    assert record is not None
    assert record["data"]["dropped"] == {"not_measured": 15}
    assert "dropped_rows.jsonl" in record["files"]


def test_example_of_the_docs_is_a_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "making_data.md").read_text()
    example = page.split("```yaml\n")[1].split("```")[0]
    monkeypatch.chdir(tmp_path)
    for name in ("prompts.jsonl", "chat.jsonl", "math.jsonl"):
        Path(name).write_text("{}\n")
    Path("docs.yaml").write_text(f"name: docs\nmodel: bundled:tiny-random\n{example}")
    plan = plan_run(load_pipeline(Path("docs.yaml"), ["stages.best.model=bundled:tiny-random"]), tmp_path / "runs")
    parents = {stage.name: stage.parents for stage in plan.stages}
    assert parents["rm"] == ["sft", "pairs"]
    assert parents["best"] == ["rm"]
    assert parents["distilled"] == ["sft", "best"]
    assert parents["grpo"] == ["distilled", "probe"]
