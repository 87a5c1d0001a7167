"""The loss on held-out rows: measured when asked for, on rows that training does not see, and without changing it."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.stage_runs import learned, planned, run_stage, stage, weights, write_pipeline
from tests.test_resume import dies_at_step
from training.models import load_policy, load_tokenizer
from training.record import read_record

LORA = {"r": 4, "alpha": 8, "dropout": 0.2}
"""Dropout draws from the random numbers that an evaluation must leave alone."""


def pipeline(folder: Path, kind: str = "sft", every: Any = 2, **fields: Any) -> Path:
    """Five steps on about three quarters of forty rows: epochs of three steps."""
    folder.mkdir(exist_ok=True)
    block = stage(kind, folder=folder, rows=40, **fields)
    block["data"]["validation"] = {"share": 0.25, "every": every}
    block["trainer"]["max_steps"] = 5
    return write_pipeline(folder, block)


def measured(folder: Path) -> list[int]:
    """The steps that have a held-out loss."""
    return [row["step"] for row in learned(folder) if "eval_loss" in row]


@pytest.fixture(scope="module")
def often(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Config and folder of a LoRA stage measured every other step."""
    config = pipeline(tmp_path_factory.mktemp("often"), lora=LORA)
    assert run_stage(config, "sft") == 0
    return config, planned(config, "sft").folder


def test_held_out_loss_is_measured_every_so_many_steps_and_at_the_end(often: tuple[Path, Path]) -> None:
    _, folder = often
    assert measured(folder) == [2, 4, 5]
    record = read_record(folder)
    assert record is not None
    assert record["metrics"]["eval_loss"] == learned(folder)[-1]["eval_loss"]
    assert "validation.jsonl" in record["files"]
    assert record["ledger"]["timing_s"]["evaluate"] > 0
    assert [0 < row["eval_kl_from_start"] < 1 for row in learned(folder) if "eval_loss" in row] == [True] * 3
    assert not (folder / "alarms.jsonl").exists()


def test_measuring_changes_nothing_that_is_learned(often: tuple[Path, Path], tmp_path: Path) -> None:
    """Once an epoch (3 steps of 8 of some thirty rows), so at other steps: the same weights bit for bit."""
    config, folder = often
    epoch = pipeline(tmp_path / "epoch", every="epoch", lora=LORA)
    assert run_stage(epoch, "sft") == 0
    other = planned(epoch, "sft").folder
    assert measured(other) == [3, 5]
    assert planned(epoch, "sft").fingerprint == planned(config, "sft").fingerprint
    ours, theirs = weights(folder), weights(other)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    def without(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{name: value for name, value in row.items() if not name.startswith("eval_")} for row in rows]

    assert without(learned(folder)) == without(learned(other))
    at_the_end = [rows[-1]["eval_loss"] for rows in (learned(folder), learned(other))]
    assert at_the_end[0] == at_the_end[1]


def test_resume_between_two_measurements_has_them_all(often: tuple[Path, Path], tmp_path: Path) -> None:
    config, expected = often
    arguments = ("--run-dir", str(tmp_path), "--set", "runtime.checkpoint_every=2")
    dies_at_step(4, config, "sft", *arguments)
    assert run_stage(config, "sft", *arguments) == 0
    assert learned(next(tmp_path.glob("*-sft-*"))) == learned(expected)


def test_held_out_loss_is_that_of_rows_that_were_not_trained_on(tmp_path: Path, tiny_model: Path) -> None:
    """Learning rate 0: the loss of the untrained model on the held-out rows, by hand, a row a micro-batch."""
    config = pipeline(tmp_path / "still", trainer={"learning_rate": 0.0})
    assert run_stage(config, "sft", "--set", "runtime.micro_batch_size=1") == 0
    folder = planned(config, "sft").folder
    tokenizer, model = load_tokenizer(tiny_model), load_policy(tiny_model)
    losses = []
    rows = [json.loads(line) for line in (folder / "validation.jsonl").read_text().splitlines()]
    for row in rows:
        prompt = tokenizer.apply_chat_template(row["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"]
        whole = tokenizer.apply_chat_template([*row["prompt"], *row["completion"]], return_dict=True)["input_ids"]
        labels = torch.tensor([[-100] * len(prompt) + whole[len(prompt) :]])
        with torch.no_grad():
            losses.append(model(input_ids=torch.tensor([whole]), labels=labels).loss.item())
    assert 3 < len(rows) < 20
    for row in learned(folder):
        if "eval_loss" in row:
            assert row["eval_loss"] == pytest.approx(sum(losses) / len(losses), abs=1e-5)
            assert row["eval_kl_from_start"] == 0.0  # it is the start model


@pytest.mark.slow
def test_dpo_measures_its_held_out_pairs(tmp_path: Path) -> None:
    """The reference is the policy's start, so that at learning rate 0 each pair's loss is log 2."""
    config = pipeline(tmp_path / "dpo", kind="dpo", trainer={"learning_rate": 0.0})
    assert run_stage(config, "dpo") == 0
    folder = planned(config, "dpo").folder
    assert measured(folder) == [2, 4, 5]
    assert learned(folder)[-1]["eval_loss"] == pytest.approx(0.693147, abs=1e-6)
    assert learned(folder)[-1]["eval_kl_from_start"] == 0.0
