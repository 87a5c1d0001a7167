"""The correlation of DPO's margins with the length of the answers: by hand, and in runs of every kind of reference."""

from pathlib import Path
from typing import Any

import pytest

import training.length_correlation
from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline
from training.length_correlation import METRIC, rank_correlation, ranks


def test_ranks_of_equal_values_are_the_mean_of_theirs() -> None:
    assert ranks([3.0, 1.0, 3.0, 2.0]) == [3.5, 1.0, 3.5, 2.0]


def test_rank_correlation_by_hand() -> None:
    """Ranks 1 2 3 4 and 2 1 4 3: the squared differences sum to 4, 1 - 6 * 4 / (4 * 15) = 0.6."""
    assert rank_correlation([1.0, 2.0, 30.0, 40.0], [6.0, 5.0, 8.0, 7.0]) == pytest.approx(0.6)
    assert rank_correlation([1.0, 2.0, 3.0, 4.0], [-1.0, -2.0, -3.0, -40.0]) == pytest.approx(-1.0)
    assert rank_correlation([1.0, 2.0, 3.0], [1.0, 2.0, 3.0]) is None
    assert rank_correlation([0.0, 0.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0]) is None


@pytest.mark.parametrize(
    "fields",
    [{}, {"lora": {"r": 4, "alpha": 8}}, {"trainer": {"precompute_ref_log_probs": True}}],
    ids=["reference", "adapter", "precomputed"],
)
def test_dpo_logs_the_correlation_of_the_pairs_whose_margins_it_trains_on(
    fields: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the first step policy and reference agree and no margin varies; in the second the mean margin is TRL's."""
    heard: list[list[float]] = []

    def noted(margins: list[float], longer: list[float]) -> float | None:
        heard.append(margins)
        assert not margins or len(set(longer)) > 1  # the last log, at the end of training, has no pairs
        return rank_correlation(margins, longer)

    monkeypatch.setattr(training.length_correlation, "rank_correlation", noted)
    trainer = {"max_steps": 2, "beta": 0.5, "learning_rate": 1e-2, **fields.get("trainer", {})}
    config = write_pipeline(tmp_path, stage("dpo", folder=tmp_path, **{**fields, "trainer": trainer}))
    assert run_stage(config, "dpo") == 0
    rows = metrics(planned(config, "dpo").folder)
    assert [len(margins) for margins in heard[:2]] == [8, 8]
    for margins, row in zip(heard, rows, strict=False):
        assert 0.5 * sum(margins) / 8 == pytest.approx(row["rewards/margins"], abs=1e-5)
    assert -1.0 <= rows[1][METRIC] <= 1.0
