"""Completions shared among ranks by their work: the same rows in a step, as many on each rank, none lost."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.test_signal_rows import micro_batch
from tests.test_signal_rows import trainer as grpo_trainer
from training.alike_rows import ORDER_FREE_LOSSES
from training.balanced_rows import balance, can_balance, shares
from training.grpo_trainer import GrpoTrainer
from training.models import load_policy


def work(share: list[int], costs: list[int]) -> int:
    return sum(costs[row] for row in share)


def test_the_only_group_with_an_advantage_is_shared() -> None:
    prompts = [(0,)] * 8 + [(1,)] * 8
    costs = [0] * 8 + [10] * 8
    first, second = shares(prompts, costs, 2)
    assert work(first, costs) == work(second, costs) == 40
    assert sorted(first + second) == list(range(16))
    assert len(first) == len(second) == 8


def test_completions_of_a_prompt_stay_together_where_that_is_even() -> None:
    prompts = [(row % 2,) for row in range(16)]
    given = shares(prompts, [10] * 16, 2)
    assert [{prompts[row] for row in share} for share in given] == [{(0,)}, {(1,)}]


def test_shares_are_even_within_the_longest_row_and_equally_many() -> None:
    generator = torch.Generator().manual_seed(5)
    for ranks in (2, 3, 4):
        for _ in range(50):
            costs = torch.randint(0, 200, (ranks * 6,), generator=generator).tolist()
            costs = [cost * (place % 3 > 0) for place, cost in enumerate(costs)]
            prompts = [(place % 4,) for place in range(len(costs))]
            given = shares(prompts, costs, ranks)
            assert [len(share) for share in given] == [6] * ranks
            assert sorted(row for share in given for row in share) == list(range(len(costs)))


def test_a_rank_with_room_for_few_rows_leaves_the_rest_to_the_others() -> None:
    costs = [1] * 5 + [100]
    given = shares([(0,)] * 6, costs, 2)
    assert [len(share) for share in given] == [3, 3]


class TwoRanks:
    """accelerate's collectives for two ranks of one process: the other rank's step is given."""

    num_processes = 2

    def __init__(self, rank: int, other: list[dict[str, torch.Tensor]]):
        self.process_index, self.other = rank, other
        self.columns = {name: torch.cat([batch[name] for batch in other]) for name in other[0] if other[0][name].ndim}

    def pad_across_processes(self, column: torch.Tensor, dim: int, pad_index: int, pad_first: bool) -> torch.Tensor:
        assert (dim, pad_index) == (1, 0)
        self.pad_first = pad_first
        return self._padded(column, max(column.size(1), self._same(column).size(1)))

    def gather(self, column: torch.Tensor) -> torch.Tensor:
        other = self._same(column)
        if other.ndim == 2:
            other = self._padded(other, column.size(1))
        both = (column, other) if self.process_index == 0 else (other, column)
        return torch.cat(both)

    def _same(self, column: torch.Tensor) -> torch.Tensor:
        return self.columns[self.asked]

    def _padded(self, column: torch.Tensor, width: int) -> torch.Tensor:
        missing = column.new_zeros((len(column), width - column.size(1)))
        return torch.cat([missing, column] if self.pad_first else [column, missing], dim=1)


def step(first: int, prompt: int, completion: int, silent: bool) -> list[dict[str, torch.Tensor]]:
    """Two micro-batches of two rows, numbered from `first`, whose padded widths are their own."""
    made = []
    for number in (first, first + 2):
        rows = torch.arange(number, number + 2)
        made.append(
            {
                "prompt_ids": rows[:, None].expand(2, prompt) + 100,
                "prompt_mask": torch.ones((2, prompt), dtype=torch.long),
                "completion_ids": rows[:, None].expand(2, completion) + 200,
                "completion_mask": torch.ones((2, completion), dtype=torch.long),
                "advantages": torch.zeros(2) if silent else rows.float() + 1,
                "num_items_in_batch": torch.tensor(99),
            }
        )
    return made


class Asked(dict[str, torch.Tensor]):
    """A micro-batch that tells the stand-in which column is read."""

    def __init__(self, accelerator: TwoRanks, columns: dict[str, torch.Tensor]):
        super().__init__(columns)
        self.accelerator = accelerator

    def __getitem__(self, name: str) -> torch.Tensor:
        self.accelerator.asked = name
        return super().__getitem__(name)


def balanced(rank: int, steps: list[list[dict[str, torch.Tensor]]]) -> list[dict[str, torch.Tensor]]:
    """What `rank` holds after the exchange of the two ranks' steps."""
    accelerator = TwoRanks(rank, steps[1 - rank])
    batches: list[dict[str, Any]] = [Asked(accelerator, batch) for batch in steps[rank]]
    return balance(batches, len(batches), accelerator, skip_silent=True)


def test_every_row_keeps_its_columns_and_each_rank_gets_half_of_the_work() -> None:
    seen = []
    for rank in (0, 1):
        batches = balanced(rank, [step(0, 3, 5, silent=True), step(4, 2, 7, silent=False)])
        assert [len(batch["advantages"]) for batch in batches] == [2, 2]
        assert sum(int((batch["advantages"] != 0).sum()) for batch in batches) == 2
        for batch in batches:
            assert int(batch["num_items_in_batch"]) == 99
            for row in range(2):
                number = int(batch["completion_ids"][row, 0]) - 200
                seen.append(number)
                assert int(batch["prompt_ids"][row, -1]) == number + 100
                assert int(batch["advantages"][row]) == (0 if number < 4 else number + 1)
                assert int(batch["completion_mask"][row].sum()) == (5 if number < 4 else 7)
                assert int(batch["prompt_mask"][row].sum()) == (3 if number < 4 else 2)
    assert sorted(seen) == list(range(8))


def test_columns_that_cannot_be_handed_over_stay_where_they_are() -> None:
    assert can_balance(step(0, 3, 5, silent=False), ranks=2)
    assert not can_balance(step(0, 3, 5, silent=False), ranks=1)
    assert not can_balance([{**batch, "images": ["a", "b"]} for batch in step(0, 3, 5, silent=False)], ranks=2)


@pytest.mark.parametrize("loss_type", ORDER_FREE_LOSSES)
def test_the_step_s_gradient_is_the_one_without_the_exchange(tiny_model: Path, tmp_path: Path, loss_type: str) -> None:
    one, other = micro_batch([1.0, 0.0, -1.0, 0.0], old=True), micro_batch([0.0] * 4, old=True)
    other["completion_ids"] = other["completion_ids"].flip(0)
    for batch in (one, other):
        batch["num_items_in_batch"] = one["completion_mask"].sum() + other["completion_mask"].sum()
    before = [one, other]
    after = [balanced(rank, [[one], [other]])[0] for rank in (0, 1)]
    assert [int((batch["advantages"] != 0).sum()) for batch in before] == [2, 0]
    assert [int((batch["advantages"] != 0).sum()) for batch in after] == [1, 1]
    gradients = []
    for batches in (before, after):
        made = grpo_trainer(GrpoTrainer, tiny_model, tmp_path, load_policy(tiny_model), loss_type=loss_type)
        made.current_gradient_accumulation_steps = 1
        for batch in batches:
            made.micro_batch = batch
            made._compute_loss(made.model, batch).backward()
        gradients.append({name: weight.grad for name, weight in made.model.named_parameters()})
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], gradient, atol=1e-6, rtol=1e-4)
