"""Share an optimizer step's completions among the ranks by their work, so that no rank waits for another.

TRL leaves a completion on the rank that drew it. The groups of one rank may be the long ones, or the only ones with an
advantage: the others then wait at the end of every step. The rows of a step, and what each of them adds to loss and
gradient, stay; so do the number of rows and micro-steps of each rank. For losses where a row's weight does not depend
on its neighbours (`alike_rows.may_reorder`).

Legend: W ranks, n rows of a rank in a step, B = W x n rows, T tokens.
"""

from typing import Any

import torch

Batch = dict[str, Any]


def can_balance(buffer: list[Batch], ranks: int) -> bool:
    """Whether there are several ranks and every column can be handed over: tensors of [rows, tokens], [rows] or []."""
    columns = [value for batch in buffer for value in batch.values() if value is not None]
    return ranks > 1 and all(isinstance(value, torch.Tensor) and value.ndim <= 2 for value in columns)


def balance(buffer: list[Batch], accumulation: int, accelerator: Any, skip_silent: bool) -> list[Batch]:
    """Return this rank's micro-batches after the exchange, step by step; every rank calls it.

    With `skip_silent` a row of advantage 0 costs nothing (`training.signal_rows`).
    """
    shared: list[Batch] = []
    for start in range(0, len(buffer), accumulation):
        shared += _balance_step(buffer[start : start + accumulation], accelerator, skip_silent)
    return shared


def _balance_step(step: list[Batch], accelerator: Any, skip_silent: bool) -> list[Batch]:
    rows = len(step[0]["advantages"])
    gathered = {name: _gathered(step, name, accelerator) for name in step[0]}
    costs = gathered["completion_mask"].sum(1)
    if skip_silent:
        costs = costs * (gathered["advantages"] != 0)
    real = gathered["prompt_mask"].bool()
    prompts = [tuple(ids[mask].tolist()) for ids, mask in zip(gathered["prompt_ids"], real, strict=True)]
    mine = shares(prompts, costs.tolist(), accelerator.num_processes)[accelerator.process_index]
    places = [torch.tensor(mine[start : start + rows]) for start in range(0, len(mine), rows)]
    return [{name: _chosen(value, rows_R) for name, value in gathered.items()} for rows_R in places]


def shares(prompts: list[tuple[int, ...]], costs: list[int], ranks: int) -> list[list[int]]:
    """Return the rows of each rank, equally many: neighbours in (prompt, cost) order, cut where the costs are even.

    Rows without cost fill up what is missing.
    """
    count = len(prompts) // ranks
    loud = sorted((row for row, cost in enumerate(costs) if cost), key=lambda row: (prompts[row], costs[row]))
    silent = [row for row, cost in enumerate(costs) if not cost]
    given: list[list[int]] = []
    for rank in range(ranks):
        wanted = sum(costs[row] for row in loud) / (ranks - rank)
        must = max(0, len(loud) - count * (ranks - rank - 1))  # what the ranks after this one have no room for
        share: list[int] = []
        while loud and len(share) < count:
            behind = wanted - sum(costs[row] for row in share)
            if len(share) >= must and behind < costs[loud[0]] / 2:
                break
            share.append(loud.pop(0))
        given.append(share)
    for share in given:
        while len(share) < count:
            share.append(silent.pop(0))
    return given


def _gathered(step: list[Batch], name: str, accelerator: Any) -> Any:
    """One column of the step, of all ranks, padded to the widest; scalars and absent columns as they are."""
    first = step[0][name]
    if first is None or first.ndim == 0:
        return first
    column = torch.cat([batch[name] for batch in step])
    if column.ndim == 2:
        pad_first = name.startswith("prompt_")  # prompts are padded on the left, completions on the right
        column = accelerator.pad_across_processes(column, dim=1, pad_index=0, pad_first=pad_first)
    return accelerator.gather(column)


def _chosen(value: Any, rows_R: torch.Tensor) -> Any:
    if value is None or value.ndim == 0:
        return value
    return value[rows_R.to(value.device)]
