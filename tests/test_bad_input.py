"""Mistakes in a pipeline, its data or its model: one message that says what to do, the right exit code, no traceback.

What the config checks see is tested in test_config_errors.py; here it is what the commands and the stages answer.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from launch.cli import main
from tests.config_files import changed, write
from tests.own_rewards import own
from tests.stage_runs import LENGTH, planned, run_stage, stage, write_pipeline
from training.config import load_pipeline
from training.config.chat_templates import chat_template_path
from training.models import load_tokenizer
from training.plan import plan_run
from training.record import read_record, write_json
from training.run_folder import RESOLVED_NAME, RunFolder
from training.run_stage import main as stage_main


def one_message(capsys: pytest.CaptureFixture[str], *parts: str) -> str:
    """What was said on stderr: every part of the expected message, once, and no traceback."""
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    for part in parts:
        assert shown.count(part) == 1, f"{part!r} in:\n{shown}"
    return shown


MISTAKES = {
    "unknown key": ("name: demo", "name: demo\nseeed: 3", "demo.yaml:2: seeed: unknown key (did you mean seed?)"),
    "wrong value": ("batch_size: 8", "batch_size: eight", "demo.yaml:22: stages.dpo.batch_size"),
    "missing file": ("data: stage:pairs", "data: {path: absent.jsonl}", "demo.yaml:23: stages.dpo.data.path"),
    "duplicate stage": ("name: grpo", "name: dpo", "demo.yaml:25"),
    "unknown parent": ("kind: dpo", "kind: dpo\n    from: sfft", "demo.yaml:22: stages.dpo.from"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_mistake_in_the_file_exits_2_with_its_line_and_starts_nothing(
    command: str, mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    old, new, expected = MISTAKES[mistake]
    path = write(tmp_path, changed(old, new))
    assert main([command, str(path)]) == 2
    one_message(capsys, expected)
    assert not (tmp_path / "runs").exists()


def with_rows(folder: Path, kind: str, rows: list[Any] | str, **fields: Any) -> Path:
    """A pipeline of one stage on these rows, or on this text."""
    block = stage(kind, folder=folder, **fields)
    path = Path(block["data"]["path"])
    path.write_text(rows if isinstance(rows, str) else "".join(json.dumps(row) + "\n" for row in rows))
    return write_pipeline(folder, block)


BAD_DATA: dict[str, tuple[str, list[Any] | str, str]] = {
    "sft without completion": ("sft", [{"prompt": "x", "reply": "y"}], "sft rows need the columns"),
    "dpo without rejected": ("dpo", [{"prompt": "x", "chosen": "y"}], "preference rows need the columns"),
    "grpo without prompt": ("grpo", [{"question": "x"}], "prompt rows need the columns"),
    "empty prompt": ("sft", [{"prompt": " ", "completion": "y"}], "sft.jsonl:1: prompt is empty"),
    "cut line": ("sft", '{"prompt": "x", "compl', "sft.jsonl:1: Unterminated string"),
    "unknown role": ("sft", [{"prompt": [{"role": "robot", "content": "x"}], "completion": "y"}], "the role 'robot'"),
}


@pytest.mark.parametrize("mistake", BAD_DATA)
def test_bad_data_is_refused_by_the_check_and_by_the_stage(
    mistake: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`posttrain run` checks before its first stage; a stage started by hand finds out by itself."""
    kind, rows, expected = BAD_DATA[mistake]
    config = with_rows(tmp_path, kind, rows)
    for arguments in (["--check"], ["--stage", kind]):
        assert stage_main([str(config), *arguments]) == 2
        one_message(capsys, f"stages.{kind}.data", expected)
    assert read_record(planned(config, kind).folder) is None


def test_data_without_a_column_that_a_reward_needs_is_refused_before_the_first_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = with_rows(tmp_path, "grpo", [{"prompt": f"Count {n}", "label": "1"} for n in range(8)], rewards=["answer"])
    for arguments in (["--check"], ["--stage", "grpo"]):
        assert stage_main([str(config), *arguments]) == 2
        one_message(capsys, "reward answer needs the column 'answer'; the data has", "columns: {answer: label}")


def test_suite_without_answers_is_refused_before_the_first_stage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.jsonl").write_text('{"prompt": "2 + 2"}\n')
    suites = {"easy": {"data": {"path": str(tmp_path / "items.jsonl")}, "items": 1}}
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path), suites=suites, evaluate={"suites": ["easy"]})
    assert stage_main([str(config), "--check"]) == 2
    one_message(capsys, "suites.easy.data: row 0 has no answer")


@pytest.mark.parametrize("key", ["limit", "max_prompt_tokens"])
def test_suite_with_a_key_that_would_be_ignored_is_refused(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "items.jsonl").write_text('{"prompt": "2 + 2", "answer": "4"}\n')
    suites = {"easy": {"data": {"path": str(tmp_path / "items.jsonl"), key: 5}, "items": 1}}
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path), suites=suites)
    assert main(["plan", str(config)]) == 2
    one_message(capsys, f"suites.easy.data.{key}", "does nothing in a suite")


def test_run_with_bad_data_stops_at_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """The whole way through `posttrain run`: exit code and message of the checking process come through."""
    monkeypatch.chdir(tmp_path)
    config = with_rows(tmp_path, "sft", [{"question": "x", "reply": "y"}])
    assert main(["run", str(config)]) == 2
    shown = "".join(capfd.readouterr())
    assert shown.count("stages.sft.data: sft rows need the columns") == 1
    assert "found: question, reply" in shown
    assert "Traceback" not in shown
    assert RunFolder(tmp_path / "runs" / "demo").stages() == []


def test_debug_shows_the_traceback_of_a_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = with_rows(tmp_path, "sft", [{"reply": "y"}])
    assert stage_main([str(config), "--check", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "rows", "count"), [("sft", 7, "7 rows"), ("dpo", 7, "7 rows"), ("grpo", 1, "1 prompts")]
)
def test_data_that_fills_no_step_is_refused(
    kind: str, rows: int, count: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """transformers would train nothing and report success."""
    config = write_pipeline(tmp_path, stage(kind, rows=rows, folder=tmp_path))
    assert run_stage(config, kind) == 2
    one_message(capsys, f"stages.{kind}: {count}")
    assert read_record(planned(config, kind).folder) is None


def test_prompts_over_the_limit_are_dropped_and_counted(tmp_path: Path, tiny_model: Path) -> None:
    """Of 20 prompts 4 are long; the limit is the rendered length of the longest short one, so none of those goes."""
    rows = [{"prompt": f"Count {n:02d} " + "again " * 30 * (n % 5 == 0), "completion": "one"} for n in range(20)]
    message = [{"role": "user", "content": rows[1]["prompt"]}]
    rendered = load_tokenizer(tiny_model).apply_chat_template(message, add_generation_prompt=True, return_dict=True)
    block = stage("sft", folder=tmp_path)
    block["data"]["max_prompt_tokens"] = len(rendered["input_ids"])
    config = write_pipeline(tmp_path, block)
    Path(block["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert run_stage(config, "sft") == 0
    record = read_record(planned(config, "sft").folder)
    assert record is not None
    assert (record["data"]["rows_in"], record["data"]["rows_kept"]) == (20, 16)
    assert record["data"]["dropped"] == {"prompt_too_long": 4}


def test_all_prompts_over_the_limit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    block = stage("grpo", folder=tmp_path)
    block["data"]["max_prompt_tokens"] = 3
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, "grpo") == 2
    one_message(capsys, "stages.grpo.data: no row is left of 16", "raise max_prompt_tokens")


@pytest.fixture
def own_model(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that a test may break."""
    return Path(shutil.copytree(tiny_model, tmp_path / "own"))


def test_model_without_a_chat_template_is_refused_and_can_be_given_one(
    own_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = (own_model / "chat_template.jinja").read_text()
    (own_model / "chat_template.jinja").unlink()
    stages = stage("sft", folder=tmp_path), stage("dpo", folder=tmp_path)
    config = write_pipeline(tmp_path, *stages, model=str(own_model))
    assert run_stage(config, "base") == 2
    one_message(capsys, "has no chat template; set `chat_template:`")
    (tmp_path / "given.jinja").write_text(template)
    for given in (str(tmp_path / "given.jinja"), "chatml"):
        override = f"chat_template={given}"
        assert run_stage(config, "sft", "--set", override) == 0
        assert run_stage(config, "dpo", "--set", override) == 0  # its tokenizer comes from the sft stage's folder
        found = load_tokenizer(planned(config, "dpo", override).folder / "model").chat_template
        assert found == chat_template_path(given).read_text()


def test_model_folder_without_a_config_is_refused(
    own_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (own_model / "config.json").unlink()
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path), model=str(own_model))
    assert main(["plan", str(config)]) == 2
    one_message(capsys, "has no config.json; give a folder in transformers format")


def test_chat_template_that_differs_from_the_parents_needs_a_word(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jinja"
    other.write_text("{% for message in messages %}<{{ message['role'] }}>{{ message['content'] }}\n{% endfor %}<a>")
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path, chat_template=str(other)))
    assert run_stage(config, "sft") == 2
    one_message(capsys, "the stage's template_sha256", "set `allow_template_change: true` if meant")
    meant = ["--set", "stages.sft.allow_template_change=true"]
    assert run_stage(config, "sft", *meant) == 2
    one_message(capsys, "16 end_of_turn_not_trained", "max_flagged_rows")
    assert run_stage(config, "sft", *meant, "--set", "stages.sft.data.max_flagged_rows=1.0") == 0


def test_stage_whose_parent_has_not_finished_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path), stage("dpo", folder=tmp_path))
    assert run_stage(config, "dpo") == 2
    one_message(capsys, "stage dpo needs sft, which has not finished")


def test_stage_name_that_does_not_exist_lists_those_that_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert run_stage(config, "dpo") == 2
    one_message(capsys, "--stage dpo: no such stage; choose one of base, sft")


def test_sample_that_keeps_nothing_says_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = write_pipeline(tmp_path, stage("sample", folder=tmp_path, rewards=["answer"], min_margin=1.5))
    assert run_stage(config, "sample") == 2
    one_message(capsys, "stages.sample kept no row of 16 prompts")


@pytest.mark.parametrize("kind", ["grpo", "sample"])
def test_reward_that_keeps_raising_stops_the_stage_with_4(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = {"trainer": {"max_steps": 5}} if kind == "grpo" else {}
    config = write_pipeline(tmp_path, stage(kind, folder=tmp_path, rewards=[LENGTH, own("broken")], **fields))
    assert run_stage(config, kind) == 4
    one_message(capsys, "completions could not be scored", "ZeroDivisionError: a bug in the reward")
    assert read_record(planned(config, kind).folder) is None


def test_run_folder_with_artifacts_but_no_description_is_refused(tmp_path: Path) -> None:
    """Folders that a stage has only begun are no artifacts: ranks started by hand make them at the same time."""
    folder = RunFolder(tmp_path)
    begun = tmp_path / "01-sft-0123abcd"
    (begun / "ranks").mkdir(parents=True)
    folder.check("demo")
    write_json(begun / "record.json", {})
    with pytest.raises(UserError, match=f"holds artifacts but no {RESOLVED_NAME}"):
        folder.check("demo")


def test_stage_by_hand_in_the_run_folder_of_another_pipeline_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert run_stage(config, "base") == 0
    run_dir = plan_run(load_pipeline(config), tmp_path / "runs" / "demo").run_dir
    assert run_stage(config, "sft", "--set", "name=other", "--run-dir", str(run_dir)) == 2
    one_message(capsys, "belongs to the pipeline 'demo', not to 'other'")
