"""The sweep file: points from a grid or a list, names, overrides, and mistakes with their place."""

from pathlib import Path

import pytest

from tests.config_files import write
from training.config.errors import ConfigError
from training.config.sweep import load_sweep, point_name, short_keys


def sweep_file(folder: Path, text: str) -> Path:
    config = write(folder)
    path = folder / "sweep.yaml"
    path.write_text(f"name: demo-sweep\nconfig: {config}\n{text}", encoding="utf-8")
    return path


def test_sweep_grid_gives_every_combination_with_the_last_key_fastest(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, "grid:\n  stages.dpo.trainer.beta: [0.1, 0.2]\n  seed: [1, 2]\n")
    points = load_sweep(path).points
    assert [list(point.values.values()) for point in points] == [[0.1, 1], [0.1, 2], [0.2, 1], [0.2, 2]]
    assert [point.pipeline.seed for point in points] == [1, 2, 1, 2]
    assert [next(s for s in p.pipeline.stages if s.name == "dpo").trainer["beta"] for p in points] == [
        0.1,
        0.1,
        0.2,
        0.2,
    ]
    assert len({point.name for point in points}) == 4


def test_sweep_points_may_set_different_keys_and_overrides_hold_for_all(tmp_path: Path) -> None:
    text = (
        "overrides: [stages.sft.batch_size=32]\npoints:\n  - {seed: 3}\n  - {stages.sft.trainer.learning_rate: 1e-5}\n"
    )
    sweep = load_sweep(sweep_file(tmp_path, text), ["evaluate.max_completion_length=7"])
    assert sweep.keys == ["seed", "stages.sft.trainer.learning_rate"]
    first, second = (point.pipeline for point in sweep.points)
    assert (first.seed, second.seed) == (3, 17)
    for pipeline in (first, second):
        assert pipeline.evaluate is not None
        assert pipeline.evaluate.max_completion_length == 7
        assert next(s for s in pipeline.stages if s.name == "sft").batch_size == 32


def test_sweep_values_that_are_lists_or_mappings_reach_the_pipeline(tmp_path: Path) -> None:
    path = sweep_file(tmp_path, "grid:\n  stages.grpo.rewards: [[answer], [answer, {name: format, weight: 0.5}]]\n")
    rewards = [next(s for s in p.pipeline.stages if s.name == "grpo").rewards for p in load_sweep(path).points]
    assert [[spec.weight for spec in specs] for specs in rewards] == [[1.0], [1.0, 0.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "needs either grid or points"),
        ("grid: {seed: [1]}\npoints: [{seed: 2}]\n", "needs either grid or points"),
        ("grid: {seed: []}\n", "grid.seed has no values"),
        ("grids: {seed: [1]}\n", "sweep.yaml:3: grids: is no key of a sweep (did you mean grid?)"),
        ("grid: {seed: 1}\n", "sweep.yaml:3: grid.seed = 1"),
        ("points: [{seed: 1}, {seed: 1}]\n", "stands twice"),
        ("points: [{}]\n", "changes nothing"),
        ("grid: {runtime.runs_dir: [a, b]}\n", "cannot be swept"),
        ("grid: {stages.sft.trainer.learning_rat: [1e-5]}\n", 'the point {"stages.sft.trainer.learning_rat": 1e-05}'),
        ("grid: {stages.nosuch.seed: [1]}\n", "stages has no nosuch"),
    ],
)
def test_sweep_mistake_is_told_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_sweep(sweep_file(tmp_path, text))
    assert message in str(error.value)


def test_sweep_absent_config_is_told(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text("name: demo\nconfig: absent.yaml\ngrid: {seed: [1]}\n")
    with pytest.raises(ConfigError, match=r"sweep.yaml:2: config = .absent.yaml.: there is no such file"):
        load_sweep(path)


def test_short_keys_tell_equal_endings_apart() -> None:
    keys = ["stages.dpo.trainer.beta", "stages.grpo.trainer.beta", "seed", "stages.sft.seed"]
    assert short_keys(keys) == {
        "stages.dpo.trainer.beta": "dpo.trainer.beta",
        "stages.grpo.trainer.beta": "grpo.trainer.beta",
        "seed": "seed",
        "stages.sft.seed": "sft.seed",
    }


def test_point_name_follows_from_values_alone_and_names_a_folder() -> None:
    labels = {"a.b": "b", "c": "c"}
    one = point_name({"a.b": "x/../y z", "c": [1, 2]}, labels)
    assert one == point_name({"a.b": "x/../y z", "c": [1, 2]}, labels)
    assert "/" not in one
    assert " " not in one
    assert one != point_name({"a.b": "x/../y z", "c": [1, 3]}, labels)


def test_sweep_of_a_pipeline_file_names_the_command_that_runs_it(tmp_path: Path) -> None:
    path = write(tmp_path)
    with pytest.raises(ConfigError, match=f"is a pipeline, no sweep; `posttrain run {path}` runs it"):
        load_sweep(path)
