"""Probes and held-out measurements on two real ranks: what one rank measures, the same model kept, also under ZeRO."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.stage_runs import learned, run_stage, stage, weights, write_pipeline
from tests.test_ranks_real import assert_two_ranks_did_it, folder_of, needs_compiler, start_ourselves, two_ranks
from training.record import read_record, verify_record


def pipeline(folder: Path) -> Path:
    """An SFT stage that learns by heart what its probe asks: seven questions, an odd number for two ranks.

    The questions are trained on (`exclude_training_prompts: false`), so that accuracy rises and a best can be kept.
    """
    rows = [{"prompt": f"Say {letter}", "completion": letter, "answer": letter} for letter in "abcdefghijklmnop"]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    block = stage("sft", folder=folder, trainer={"max_steps": 6, "learning_rate": 1e-2})
    block["data"] = {"path": str(path), "validation": {"share": 0.3, "every": 3}}
    block["probe"] = {"suites": ["same"], "every": 2, "items": 7, "max_completion_length": 3, "keep_best": "same"}
    suites = {"same": {"items": 2, "data": {"path": str(path)}, "exclude_training_prompts": False}}
    return write_pipeline(folder, block, suites=suites)


@pytest.fixture(scope="module")
def one_rank(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The config and the stage's folder after a run on one rank."""
    folder = tmp_path_factory.mktemp("probe")
    config = pipeline(folder)
    assert run_stage(config, "sft", "--run-dir", str(folder / "one")) == 0
    return config, folder_of(config, folder / "one", "sft")


def assert_same_measured(mine: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> None:
    """Losses and the KL to rounding, accuracies as they are."""
    assert [row["step"] for row in mine] == [row["step"] for row in theirs]
    for ours, expected in zip(mine, theirs, strict=True):
        measured = {name for name in expected if name.startswith(("probe/", "eval_kl"))}
        assert measured == {name for name in ours if name.startswith(("probe/", "eval_kl"))}
        for name in measured:
            assert ours[name] == pytest.approx(expected[name], abs=1e-3), (expected["step"], name)


def assert_like_one_rank(one_rank: tuple[Path, Path], folder: Path, zero_stage: int) -> None:
    config, expected = one_rank
    assert start_ourselves(config, "sft", folder, two_ranks(zero_stage)) == 0
    two = folder_of(config, folder, "sft")
    assert_two_ranks_did_it(two, zero_stage)
    assert_same_measured(learned(two), learned(expected))
    assert {row.get("probe/same/accuracy") for row in learned(two)} > {None}
    kept = [(read_record(made) or {})["kept_probe"] for made in (two, expected)]
    assert kept[0] == kept[1]
    assert verify_record(two) == []
    for name, tensor in weights(expected).items():
        assert (weights(two)[name] - tensor).abs().max() < 1e-3, name


def test_probe_and_kl_on_two_ranks_are_those_of_one_and_keep_the_same_model(
    one_rank: tuple[Path, Path], tmp_path: Path
) -> None:
    assert_like_one_rank(one_rank, tmp_path, zero_stage=0)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("zero_stage", [2, 3])
def test_probe_and_kl_under_zero_are_those_of_one_rank_and_keep_the_same_model(
    zero_stage: int, one_rank: tuple[Path, Path], tmp_path: Path
) -> None:
    """ZeRO-3 gathers the weights for generation, and in every forward of the KL."""
    assert_like_one_rank(one_rank, tmp_path, zero_stage)
