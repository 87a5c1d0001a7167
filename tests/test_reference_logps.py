"""Reference log-probabilities kept pair by pair: TRL's numbers, computed once, by whatever attempt or run."""

from pathlib import Path
from typing import Any

import pytest
import torch
import trl
from datasets import Dataset

import training.reference_logps
import training.score_cache
from tests.stage_runs import planned, run_stage, stage, weights, write_pipeline
from training.config import load_pipeline

PRECOMPUTED = {"precompute_ref_log_probs": True, "max_length": 128}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training.score_cache, "cache_root", lambda: tmp_path / "cache")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_pipeline(tmp_path, stage("dpo", folder=tmp_path, trainer=PRECOMPUTED))


class Scored:
    """Counts the pairs that are scored, and breaks off after some."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int = 1000):
        self.count, self.most, self.plain = 0, most, training.reference_logps.score_pair
        monkeypatch.setattr(training.reference_logps, "score_pair", self)

    def __call__(self, *arguments: Any) -> tuple[float, float]:
        if self.count == self.most:
            raise OSError("broken off")
        self.count += 1
        return self.plain(*arguments)


def test_numbers_are_trl_s_and_another_run_computes_none(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compared = []
    plain = training.reference_logps.ReferenceLogps.add_columns

    def both(self: Any, trainer: Any, dataset: Dataset) -> Dataset:
        kept = plain(self, trainer, dataset)
        theirs = trl.DPOTrainer._precompute_ref_logps(trainer, dataset, "train", 4)
        for column in ("ref_chosen_logps", "ref_rejected_logps"):
            torch.testing.assert_close(torch.tensor(kept[column]), torch.tensor(theirs[column]), atol=1e-4, rtol=1e-5)
            assert kept.features[column].dtype == "float32"
            assert len(set(kept[column])) > 1
        compared.append(len(kept))
        return kept

    scored = Scored(monkeypatch)
    with monkeypatch.context() as patch:
        patch.setattr(training.reference_logps.ReferenceLogps, "add_columns", both)
        assert run_stage(config, "dpo") == 0
    assert compared == [scored.count] == [16]
    assert "reference: 16 pairs scored in" in capsys.readouterr().out
    assert run_stage(config, "dpo", "--set", "stages.dpo.trainer.beta=0.3") == 0
    assert scored.count == 16
    assert "reference: all 16 pairs known from the cache" in capsys.readouterr().out
    assert run_stage(config, "dpo", "--set", "stages.dpo.trainer.max_length=76") == 0
    assert scored.count > 16  # other tokens, other numbers


def test_a_pass_broken_off_goes_on_behind_what_it_scored(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        Scored(patch, most=5)
        assert run_stage(config, "dpo") == 1
    scored = Scored(monkeypatch)
    assert run_stage(config, "dpo") == 0
    assert scored.count == 16 - 5
    resumed = weights(planned(config, "dpo").folder)

    monkeypatch.setattr(training.score_cache, "cache_root", lambda: tmp_path / "another cache")
    other = ("--run-dir", str(tmp_path / "untouched"))
    assert run_stage(config, "dpo", *other) == 0
    folder = next((tmp_path / "untouched").glob("*-dpo-*"))
    untouched = weights(folder)
    assert all(torch.equal(tensor, untouched[name]) for name, tensor in resumed.items())


def test_answers_weighed_by_each_other_s_length_stay_trl_s(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = Scored(monkeypatch)
    assert load_pipeline(config, ["stages.dpo.trainer.ld_alpha=0.5"]).stages
    assert run_stage(config, "dpo", "--set", "stages.dpo.trainer.ld_alpha=0.5") == 0
    assert scored.count == 0
