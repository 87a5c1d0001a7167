"""`posttrain data` and the gate at a stage's start: what is refused, what is said, what is written."""

import json
from pathlib import Path
from typing import Any

import pytest

from launch.cli import main
from tests.chromium import open_browser
from tests.stage_runs import main as stage_main
from tests.stage_runs import planned, run_stage, sft_rows, signal_handlers_kept, stage, write_pipeline

TEMPLATE = """{% for m in messages %}<|im_start|>{{ m['role'] }}
{{ m['content'] }}END
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
FAULTS = {
    "end_of_turn_not_trained": TEMPLATE.replace("END", ""),
    "prompt_differs_from_rollout": TEMPLATE.replace("END", "<|im_end|>").replace("assistant\n", "model\n"),
    "two_bos": "<|im_start|>" + TEMPLATE.replace("END", "<|im_end|>"),
}


def pipeline(folder: Path, *stages: dict[str, Any], template: str | None = None, **top: Any) -> Path:
    if template is not None:
        (folder / "template.jinja").write_text(template)
        top["chat_template"] = str(folder / "template.jinja")
    return write_pipeline(folder, *stages, **top)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_kind_is_examined_and_what_cannot_be_read_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = [stage(kind, folder=tmp_path) for kind in ("sft", "sample", "grpo")]
    waiting = {**stage("dpo", folder=tmp_path), "data": "stage:sample"}
    config = pipeline(tmp_path, *stages, waiting)
    assert main(["data", str(config), "--rows", "2"]) == 0
    said = capsys.readouterr().out
    for name in ("sft", "sample", "grpo"):
        assert f"{name} ({name})" in said
    assert said.count("no row is flagged") == 3
    assert "its rows are made by stage sample, which has not run" in said
    page = (tmp_path / "runs" / "demo" / "data" / "data.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "Not examined" in page


def test_pipeline_without_rows_has_nothing_to_examine_and_may_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """An export of the base alone; `--check` is what `posttrain run` asks before the first stage."""
    config = pipeline(tmp_path, {"name": "out", "kind": "export"})
    with signal_handlers_kept():
        assert stage_main([str(config), "--check"]) == 0
    assert main(["data", str(config)]) == 2
    assert "no stage of this pipeline has data" in capsys.readouterr().err
    assert main(["data", str(config), "--stage", "out"]) == 2
    assert "--stage out: no stage of this name has data" in capsys.readouterr().err


@pytest.mark.parametrize("fault", FAULTS)
def test_template_that_breaks_training_is_refused_by_name(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = pipeline(tmp_path, stage("sft", folder=tmp_path), template=FAULTS[fault])
    assert main(["data", str(config), "--stage", "sft"]) == 2
    said = capsys.readouterr()
    assert f"FLAG {fault}: 16 row(s) (0, 1, 2, 3, 4, ...)" in said.out
    assert "stages.sft.data: 16 of 16 rows are flagged" in said.err
    flagged = lines(tmp_path / "runs" / "demo" / "data" / "sft.flagged.jsonl")
    assert [found["row"] for found in flagged if found["finding"] == fault] == list(range(16))


def test_stage_on_such_a_template_does_not_start_and_the_check_says_so_before(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    template = FAULTS["end_of_turn_not_trained"]
    config = pipeline(tmp_path, stage("sft", folder=tmp_path), template=template)
    assert run_stage(config, "sft", "--check") == 2
    assert "end_of_turn_not_trained" in capsys.readouterr().err
    assert run_stage(config, "sft") == 2
    assert "max_flagged_rows=0.05" in capsys.readouterr().err
    folder = planned(config, "sft").folder
    assert not (folder / "record.json").exists()
    assert len(lines(folder / "flagged_rows.jsonl")) == 16


def test_rows_within_the_threshold_are_trained_and_stand_in_the_record(tmp_path: Path) -> None:
    """Two of twenty rows have a prompt as long as the limit: no token of theirs is trained."""
    rows = sft_rows(20)
    for number in (3, 11):
        rows[number]["prompt"] = "long " * 40
    block = stage("sft", folder=tmp_path, trainer={"max_length": 128, "max_steps": 1})
    Path(block["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = pipeline(tmp_path, block)
    assert run_stage(config, "sft") == 2
    config = pipeline(tmp_path, block | {"data": block["data"] | {"max_flagged_rows": 0.1}})
    assert run_stage(config, "sft") == 0
    folder = planned(config, "sft").folder
    data = json.loads((folder / "record.json").read_text())["data"]
    assert data["doctor"]["flagged"] == {"no_trained_token_within_limit": 2}
    assert data["dropped"]["no_trained_token_within_max_length"] == 2
    assert data["rows_in"] == 20 == data["rows_kept"] + sum(data["dropped"].values())
    assert [found["row"] for found in lines(folder / "flagged_rows.jsonl")] == [3, 11]


def test_sample_looks_at_rows_spread_over_the_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert main(["data", str(config), "--sample", "4"]) == 0
    assert "16 rows in, dropped: none; 4 examined" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--stage", "sgt"], "choose one of sft"), (["--rows", "-1"], "--rows -1"), (["--sample", "0"], "--sample 0")],
)
def test_wrong_option_is_refused_with_what_is_accepted(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert main(["data", str(config), *options]) == 2
    assert words in capsys.readouterr().err


@pytest.mark.browser
def test_page_opens_offline_on_a_phone_without_sideways_scrolling(tmp_path: Path) -> None:
    texts = ["دو اور دو چار", "দুই আর দুই মিলে চার", "ሁለት ሲደመር ሁለት አራት", "二加二等于四" * 20, "word" * 200]
    block = stage("sft", folder=tmp_path)
    rows = [{"prompt": text, "completion": f"{text}\n{text}"} for text in texts]
    Path(block["data"]["path"]).write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = pipeline(tmp_path, block)
    assert main(["data", str(config), "--html", str(tmp_path / "page.html")]) == 0
    with open_browser(tmp_path / "profile") as page:
        page.open(tmp_path / "page.html", width=390)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        directions = page.evaluate(
            "[...document.querySelectorAll('.tokens p')].map(line => getComputedStyle(line).direction)"
        )
        assert set(directions) == {"ltr", "rtl"}
        assert page.messages == []
        assert [url for url in page.requests if not url.startswith(("file:", "data:"))] == []
