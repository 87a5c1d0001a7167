"""The KL from the start model: the estimate against the exact value, in real runs, across a resume, and its alarm."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import training.held_out_kl
from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline
from training.config import load_pipeline
from training.held_out_kl import HeldOutKl, one_row, position_logps
from training.models import load_policy
from training.world import World

ROWS = [{"input_ids": list(range(3, 3 + length)), "trained": length - 4} for length in (6, 11, 40)]
"""Token ids in a row, of which the last `trained` count."""


def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    (row,) = rows
    ids = torch.tensor([row["input_ids"]])
    labels = ids.clone()
    labels[0, : ids.shape[1] - row["trained"]] = -100
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": labels}


@pytest.fixture
def trainer(tiny_model: Path) -> Any:
    """All that the measurement reads of a trainer."""
    accelerator = SimpleNamespace(device=torch.device("cpu"))
    return SimpleNamespace(
        model=load_policy(tiny_model), eval_dataset=ROWS, data_collator=collate, accelerator=accelerator
    )


def context(folder: Path) -> Any:
    return SimpleNamespace(folder=folder, seed=17, world=World(0, 0, 1), say=lambda line: None)


def shift(model: Any, by: float) -> None:
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=by)


def test_estimate_meets_the_exact_kl_and_is_zero_for_the_start_model(
    trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sum p (log p - log q) over the vocabulary at every position looked at, against 4000 draws of each."""
    monkeypatch.setattr(training.held_out_kl, "DRAWS", 4000)
    kl = HeldOutKl(context(tmp_path))
    kl.begin(trainer, 0)
    assert kl.measure(trainer) == 0.0
    places = [(drawn.row, drawn.place, torch.tensor(drawn.positions)) for drawn in kl.drawn]

    def logps() -> torch.Tensor:
        with torch.no_grad():
            found = [position_logps(trainer, one_row(trainer, row)[0], place, at) for row, place, at in places]
        return torch.cat(found)

    before = logps()
    shift(trainer.model, 0.05)
    exact = (before.exp() * (before - logps())).sum(-1).mean().item()
    assert exact > 0.01
    assert kl.measure(trainer) == pytest.approx(exact, rel=0.1)
    assert trainer.model.training is False


def test_positions_are_those_that_predict_trained_tokens(trainer: Any, tmp_path: Path) -> None:
    """Of six tokens the last two are trained: predicted at 3 and 4; of forty, sixteen positions of thirty-six."""
    kl = HeldOutKl(context(tmp_path))
    kl.begin(trainer, 0)
    found = {drawn.row: drawn.positions for drawn in kl.drawn}
    assert found[0] == [3, 4]
    assert found[1] == list(range(3, 10))
    assert len(found[2]) == len(set(found[2])) == 16
    assert set(found[2]) <= set(range(3, 39))


def test_resumed_stage_measures_against_the_start_model_and_not_against_its_checkpoint(
    trainer: Any, tmp_path: Path
) -> None:
    first = HeldOutKl(context(tmp_path))
    first.begin(trainer, 0)
    shift(trainer.model, 0.05)
    resumed, without = HeldOutKl(context(tmp_path)), HeldOutKl(context(tmp_path / "lost"))
    resumed.begin(trainer, 2)
    without.begin(trainer, 2)
    measured = first.measure(trainer)
    assert measured is not None
    assert resumed.measure(trainer) == measured > 0
    assert without.measure(trainer) is None


@pytest.mark.parametrize("kind", ["sft", pytest.param("dpo", marks=pytest.mark.slow)])
def test_detector_stops_a_run_that_leaves_its_start_model(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A learning rate of 0.3; the healthy runs are in test_held_out.py."""
    health = {"held_out_kl": {"policy": "stop", "above": 0.5}}
    block = stage(kind, folder=tmp_path, rows=40, trainer={"max_steps": 5, "learning_rate": 0.3}, health=health)
    block["data"]["validation"] = {"share": 0.3, "every": 1}
    config = write_pipeline(tmp_path, block)
    assert run_stage(config, kind) == 4
    rows = metrics(planned(config, kind).folder)
    assert [row["eval_kl_from_start"] > 0.5 for row in rows] == [False] * (len(rows) - 1) + [True]
    told = capsys.readouterr().err
    assert f"held_out_kl at step {len(rows)}: on held-out rows the model is" in told


def test_limit_is_that_of_the_kind_where_none_is_given(tmp_path: Path) -> None:
    """However the block is written: SFT is meant to leave its start model, DPO is not."""
    blocks: list[Any] = [{}, {"held_out_kl": "stop"}, {"held_out_kl": {"policy": "stop"}}]
    limits: dict[str, set[float]] = {"sft": set(), "dpo": set()}
    for kind, found in limits.items():
        for health in blocks:
            config = write_pipeline(tmp_path, stage(kind, folder=tmp_path, health=health))
            found.add(load_pipeline(config).stages[0].health.held_out_kl.above)
    assert limits == {"sft": {10.0}, "dpo": {0.5}}
    config = write_pipeline(tmp_path, stage("dpo", folder=tmp_path, health={"held_out_kl": {"above": 3}}))
    assert load_pipeline(config).stages[0].health.held_out_kl.above == 3.0
