"""Rows of an optimizer step in order of length and in parts of so many tokens: less padding, nothing else."""

from pathlib import Path

import pytest
import torch
from datasets import Dataset

from tests.stage_runs import metrics, planned, run_stage, stage, write_pipeline
from training.length_groups import LengthOrderedSampler, OrdersStepsByLength, sequence_lengths
from training.resumable import EpochSampler
from training.token_budget import split

LENGTHS = [3, 50, 7, 7, 20, 41, 1, 30, 12, 9, 33, 5, 28, 2]


def steps(sampler: EpochSampler) -> list[list[int]]:
    order = list(sampler)
    return [order[start : start + sampler.batch_size] for start in range(0, len(order), sampler.batch_size)]


@pytest.mark.parametrize("epoch", [0, 3])
def test_steps_have_the_rows_of_the_plain_sampler_longest_first(epoch: int) -> None:
    plain, ordered = EpochSampler(len(LENGTHS), 4, seed=5), LengthOrderedSampler(LENGTHS, 4, seed=5)
    plain.epoch = ordered.epoch = epoch
    expected, found = steps(plain), steps(ordered)
    assert [sorted(step) for step in found] == [sorted(step) for step in expected]
    for step in found:
        assert [LENGTHS[row] for row in step] == sorted((LENGTHS[row] for row in step), reverse=True)
    assert ordered.epoch == epoch + 1


def test_lengths_are_those_the_limit_leaves_also_after_a_filter() -> None:
    rows = Dataset.from_dict({"input_ids": [[0] * length for length in LENGTHS]})
    kept = rows.filter(lambda row: len(row["input_ids"]) != 50)
    assert sequence_lengths(kept, 30) == [min(length, 30) for length in LENGTHS if length != 50]
    pairs = Dataset.from_dict(
        {"prompt_ids": [[1, 2], [1]], "chosen_ids": [[3], [3, 4]], "rejected_ids": [[3, 4, 5], [3]]}
    )
    assert sequence_lengths(pairs, None) == [5, 3]
    with pytest.raises(KeyError, match="no token columns"):
        sequence_lengths(Dataset.from_dict({"text": ["a"]}), None)


def test_stage_learns_the_same_with_less_padding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same steps in the plain order: equal losses and gradients but for the order of additions."""
    seen = {}
    for name, ordered in (("ordered", True), ("plain", False)):
        folder = tmp_path / name
        folder.mkdir()
        if not ordered:
            monkeypatch.delattr(OrdersStepsByLength, "_get_train_sampler")  # leaves that of SamplesWholeBatches
        block = stage("sft", folder=folder, rows=32, batch_size=16, trainer={"max_steps": 2})
        config = write_pipeline(folder, block, runtime={"micro_batch_size": 4})
        assert run_stage(config, "sft") == 0
        seen[name] = metrics(planned(config, "sft").folder)
    for mine, theirs in zip(seen["ordered"], seen["plain"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
        assert mine["perf/padding_share"] < theirs["perf/padding_share"]


def collated(widths: list[int]) -> dict[str, torch.Tensor]:
    """Rows of ones, as long as `widths`, padded to the longest; ids count from 1 in each row."""
    mask = torch.tensor([[int(place < width) for place in range(max(widths))] for width in widths])
    return {"input_ids": mask.cumsum(1) * mask, "attention_mask": mask}


def test_split_fills_parts_up_to_the_budget_longest_first() -> None:
    """Widths 9, 3, 5, 2, 4 under 10: 9 alone, 5 and 4 (2 x 5), 3 and 2 (2 x 3)."""
    parts = split(collated([9, 3, 5, 2, 4]), 10)
    assert [part["attention_mask"].sum(1).tolist() for part, _ in parts] == [[9], [5, 4], [3, 2]]
    assert [tuple(part["input_ids"].shape) for part, _ in parts] == [(1, 9), (2, 5), (2, 3)]
    assert [share for _, share in parts] == [0.2, 0.4, 0.4]
    assert len(split(collated([9, 3]), 18)) == 1
    assert len(split(collated([9, 9]), 5)) == 2  # a row over the budget is a part of its own


def test_split_keeps_pairs_together_with_their_reference() -> None:
    """Pairs (7, 2) and (3, 4): a part of two rows of width 7, and one of width 4."""
    inputs = collated([7, 3, 2, 4]) | {"ref_chosen_logps": torch.tensor([0.1, 0.2])}
    inputs["completion_mask"] = inputs["attention_mask"]
    parts = [part for part, _ in split(inputs, 14)]
    assert [part["attention_mask"].sum(1).tolist() for part in parts] == [[7, 2], [3, 4]]
    assert [part["ref_chosen_logps"].tolist() for part in parts] == [[pytest.approx(0.1)], [pytest.approx(0.2)]]


@pytest.mark.parametrize("kind", ["sft", "dpo"])
def test_stage_learns_the_same_in_parts(kind: str, tmp_path: Path) -> None:
    """With 200 tokens at once a micro-batch of 8 rows of 50 to 72 (pairs of 31 to 52) takes at least three passes."""
    seen = []
    for budget in (None, 200):
        folder = tmp_path / str(budget)
        folder.mkdir()
        block = stage(kind, folder=folder, rows=16, batch_size=16, trainer={"max_steps": 2})
        config = write_pipeline(folder, block, runtime={"micro_batch_size": 8, "micro_batch_tokens": budget})
        assert run_stage(config, kind) == 0
        seen.append(metrics(planned(config, kind).folder))
    for mine, theirs in zip(*seen, strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-4)
    assert seen[1][0]["perf/padding_share"] < seen[0][0]["perf/padding_share"]
