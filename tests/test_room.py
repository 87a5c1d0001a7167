"""A run that its disk cannot hold is refused before its first stage."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from launch.cli import main
from launch.room import bytes_needed
from tests.fake_artifacts import finish
from tests.test_plan import PIPELINE, plan
from training.config import load_pipeline
from training.estimate.known_models import find_config
from training.estimate.parameters import count
from training.estimate.shape import shape_of

PARAMETERS = count(shape_of(find_config("bundled:tiny-random"))).total


def needed(tmp_path: Path, *overrides: str, done: tuple[str, ...] = ()) -> int:
    """Bytes a parameter that the planned pipeline needs with these stages done."""
    for name in done:
        finish(run_plan := plan(tmp_path), run_plan[name])
    run_plan = plan(tmp_path, *overrides)
    pipeline = load_pipeline(tmp_path / "planned.yaml", list(overrides))
    return bytes_needed(pipeline, run_plan.stages) // PARAMETERS


def test_bytes_needed_three_models_and_three_checkpoints_of_one_stage(tmp_path: Path) -> None:
    """Two checkpoints are kept and a third is written before the oldest goes; 4 bytes of a weight, 12 with AdamW."""
    assert needed(tmp_path) == 3 * 4 + 3 * 12
    assert needed(tmp_path, "runtime.keep_checkpoints=1") == 3 * 4 + 2 * 12
    assert needed(tmp_path, "runtime.checkpoint_every=null") == 3 * 4 + 12


def test_bytes_needed_finished_stages_and_adapters_need_none(tmp_path: Path) -> None:
    adapters = [f"stages.{name}.lora={{r: 4, save: adapter}}" for name in ("sft", "dpo", "grpo")]
    assert needed(tmp_path, *adapters) == 0
    assert needed(tmp_path, done=("base", "sft")) == 2 * 4 + 3 * 12


def test_run_on_a_disk_too_small_is_refused_with_what_it_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "small.yaml"
    config.write_text(PIPELINE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=PARAMETERS * 47))
    assert main(["run", str(config)]) == 2
    message = capsys.readouterr().err
    assert "no space left for this run" in message
    assert "runtime.keep_checkpoints" in message
