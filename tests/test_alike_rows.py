"""Completions of a prompt meet in a micro-batch: the same rows in a step, the same loss and gradient."""

import torch

from training.alike_rows import group_alike


def buffer(micro_batches: int = 4, rows: int = 2) -> list[dict[str, object]]:
    """Micro-batches of `rows` rows whose prompts alternate, so that neighbours never share one."""
    made = []
    for number in range(micro_batches):
        first = number * rows
        mask = torch.zeros((rows, 6), dtype=torch.long)
        for row in range(rows):
            mask[row, : 1 + (first + row) % 5] = 1
        made.append(
            {
                "prompt_ids": torch.tensor([[7, (first + row) % 2] for row in range(rows)]),
                "completion_mask": mask,
                "advantages": torch.arange(first, first + rows).float(),
                "num_items_in_batch": torch.tensor(40),
                "old_per_token_logps": None,
                "names": [f"row {first + row}" for row in range(rows)],
            }
        )
    return made


def rows_of(step: list[dict[str, object]]) -> list[tuple[float, str]]:
    return [
        (float(advantage), name)
        for batch in step
        for advantage, name in zip(batch["advantages"], batch["names"], strict=True)  # type: ignore[call-overload]
    ]


def test_rows_of_a_prompt_stand_together_the_short_ones_first() -> None:
    grouped = group_alike(buffer(), accumulation=4)
    prompts = [batch["prompt_ids"][:, 1].tolist() for batch in grouped]  # type: ignore[index]
    assert prompts == [[0, 0], [0, 0], [1, 1], [1, 1]]
    lengths = [batch["completion_mask"].sum(1).tolist() for batch in grouped]  # type: ignore[attr-defined]
    assert [pair for pair in lengths if sorted(pair) != pair] == []


def test_a_steps_rows_stay_in_their_step_and_keep_their_columns_together() -> None:
    before = buffer()
    after = group_alike(before, accumulation=2)
    for start in (0, 2):
        assert sorted(rows_of(after[start : start + 2])) == sorted(rows_of(before[start : start + 2]))
    assert all(name == f"row {int(advantage)}" for advantage, name in rows_of(after))


def test_scalars_and_absent_columns_are_handed_on() -> None:
    for batch in group_alike(buffer(), accumulation=4):
        assert int(batch["num_items_in_batch"]) == 40
        assert batch["old_per_token_logps"] is None
