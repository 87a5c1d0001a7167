"""Every kind of mistake in a pipeline file gives its line, its key and what to write."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from tests.config_files import GENERATOR, PIPELINE, changed, write
from tests.config_mistakes import MISTAKES
from training.config import ConfigError, load_pipeline
from training.config.yaml_file import read_value


def message(path: Path, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_pipeline(path, list(overrides))
    return str(caught.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_gives_one_message_with_its_line_key_and_fix(tmp_path: Path, mistake: str) -> None:
    old, new, line, parts = MISTAKES[mistake]
    text = message(write(tmp_path, changed(old, new)))
    place = f"{tmp_path / 'demo.yaml'}:{line}: "
    told = [each for each in text.splitlines() if each.startswith(place) and all(part in each for part in parts)]
    assert told, f"expected {place} with {parts} in:\n{text}"


# Mistakes whose message must come alone: anything more would send the reader to a place that is right.
ALONE = sorted(
    set(MISTAKES)
    - {"stage slip", "missing batch size", "stage is text", "duplicate stage", "upper case name", "self-reference"}
    - {"type for kind", "evaluate's name", "deepspeed file alone", "text for a list", "suite name", "runtime slip"}
)


@pytest.mark.parametrize("mistake", ALONE)
def test_one_mistake_gives_one_problem(tmp_path: Path, mistake: str) -> None:
    old, new, _, _ = MISTAKES[mistake]
    text = message(write(tmp_path, changed(old, new)))
    assert len(text.splitlines()) == 1, text


def test_the_message_of_the_example_in_the_style_guide_is_exact(tmp_path: Path) -> None:
    path = write(tmp_path, changed("num_generations: 8", "num_generations: 6"))
    expected = f"{path}:31: stages.grpo.trainer.num_generations = 6: does not divide batch_size 16; use 2, 4, 8 or 16"
    assert message(path) == expected


def test_trl_s_default_group_is_checked_where_none_is_written(tmp_path: Path) -> None:
    text = changed("    trainer:\n      num_generations: 8\n", "").replace(
        "batch_size: 16\n    data: {gen", "batch_size: 4\n    data: {gen"
    )
    told = message(write(tmp_path, text.replace("processes: 2", "processes: 1")))
    assert "8 (TRL's default) does not divide batch_size 4; use 2 or 4" in told


@pytest.mark.parametrize("content", ["", "\n \n", "[]"])
def test_a_data_file_without_rows_is_told_before_anything_starts(tmp_path: Path, content: str) -> None:
    rows = tmp_path / "rows.json"
    rows.write_text(content)
    path = write(tmp_path, changed(GENERATOR, f"path: {rows}"))
    told = message(path)
    assert told.startswith(f"{path}:13: stages.sft.data.path = ")
    assert told.endswith(": has no rows; give data with at least one")
    assert len(told.splitlines()) == 1
    rows.write_text('[{"prompt": "1 + 1", "completion": "2"}]')
    load_pipeline(path)
    (tmp_path / "folder").mkdir()
    assert "holds no data files" in message(path, f"stages.sft.data.path={tmp_path / 'folder'}")


def test_all_problems_are_told_at_once_in_the_order_of_the_lines(tmp_path: Path) -> None:
    text = (
        changed("name: demo", "name: Demo")
        .replace("learning_rate: 1e-4", "lr: 1e-4")
        .replace("processes: 2", "processes: 0")
    )
    lines = message(write(tmp_path, text)).splitlines()
    assert [line.split(":")[1] for line in lines] == ["1", "15", "33"]


def test_cross_field_rules_report_several_stages_at_once(tmp_path: Path) -> None:
    text = changed("    batch_size: 8", "    batch_size: 9").replace("num_generations: 8", "num_generations: 6")
    assert len(message(write(tmp_path, text)).splitlines()) == 2


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("seed", ["write key.path=value"]),
        ("=3", ["write key.path=value"]),
        ("stages..seed=3", ["write key.path=value"]),
        ("seed=[1", ["is not a YAML value"]),
        ("seed=three", ['seed = "three": must be a whole number >= 0']),
        ("sead=3", ["sead: unknown key (did you mean seed?)"]),
        ("stages.ppo.seed=3", ["stages has no ppo (did you mean dpo?)", "sft, pairs, dpo, grpo"]),
        ("stages.9.seed=3", ["stages has no 9"]),
        ("stages.evaluate-sft.draws=3", ["is made by the evaluate block; override evaluate.KEY"]),
        ("stages.dpo.data.limit=3", ["stages.dpo.data is not a mapping, so it has no limit"]),
        ("stages.dpo.bach_size=3", ["stages.dpo.bach_size: unknown key (did you mean batch_size?)"]),
        ("stages.dpo.trainer.lr=3", ["stages.dpo.trainer.lr = 3", "write learning_rate"]),
        ("stages.grpo.trainer.num_generations=6", ["does not divide batch_size 16; use 2, 4, 8 or 16"]),
        ("nothing.at.all=3", ["nothing: unknown key"]),
        ("stages.grpo.rewards=[anwser]", ['stages.grpo.rewards[0] = "anwser"', "did you mean answer?"]),
    ],
)
def test_an_override_that_is_wrong_is_named_itself(tmp_path: Path, override: str, parts: list[str]) -> None:
    text = message(write(tmp_path), override)
    assert len(text.splitlines()) == 1
    assert text.startswith(f'override "{override}": ')
    assert [part for part in parts if part not in text] == []


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"", "must be a mapping with name, model and stages"),
        (b"# only a comment\n", "must be a mapping"),
        (b"- a\n- b\n", "must be a mapping"),
        (b"just text\n", "must be a mapping"),
        (b"name: a\n---\nname: b\n", "not valid YAML"),
        (b"name: \xff\n", "is not UTF-8 text"),
        (b"name: \x00\n", "is not YAML text"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(tmp_path: Path, content: bytes, part: str) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(content)
    text = message(path)
    assert part in text
    assert text.startswith(str(path))


def test_a_file_without_content_is_told_without_a_key_or_value(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.touch()
    assert message(path) == f"{path}:1: must be a mapping with name, model and stages"


def test_a_sweep_file_is_no_pipeline_and_names_its_command(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: a\nconfig: demo.yaml\ngrid: {seed: [1, 2]}\n")
    assert message(path) == f"{path}:1: is a sweep, no pipeline; `posttrain sweep {path}` runs it"


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield at
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else []
    for key, child in children:
        yield from places(child, (*at, key))


@pytest.mark.parametrize("odd", [None, -1, "x", [], {"a": None}, [[1]]], ids=str)
def test_an_odd_value_anywhere_gives_a_config_error_or_a_pipeline(tmp_path: Path, odd: Any) -> None:
    """No value in any place may end in another exception, which the user would see as a traceback."""
    told = []
    for at in places(read_value(PIPELINE)):
        holder = {"": read_value(PIPELINE)}
        node: Any = holder
        for key, step in zip(("", *at), at, strict=False):
            node, last = node[key], step
        if at:
            node[last] = odd
        else:
            holder[""] = odd
        path = write(tmp_path, json.dumps(holder[""]))
        try:
            load_pipeline(path)
        except ConfigError as error:
            told.append(str(error))
    assert told
    assert [each for each in told if not each or "must be anything" in each] == []


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    assert message(tmp_path / "absent.yaml") == f"{tmp_path / 'absent.yaml'}: there is no such file"
    assert "is a folder" in message(tmp_path)


def test_a_config_error_is_the_users_to_fix(tmp_path: Path) -> None:
    with pytest.raises(UserError):
        load_pipeline(write(tmp_path, PIPELINE + "x: 1\n"))
