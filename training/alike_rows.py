"""Put completions of one prompt into the same micro-batches of an optimizer step, the short ones together.

TRL 1.16 shuffles a rollout round before it cuts it into micro-batches, so the rows of a micro-batch seldom share their
prompt, and each is padded to the longest. Which rows share a micro-batch changes neither loss nor gradient of a step
where every row has the same weight whatever its neighbours are; the rows of a step stay those TRL chose.
"""

from typing import Any

import torch

ORDER_FREE_LOSSES = ("grpo", "dr_grpo", "dapo", "cispo", "sapo")  # bnpo divides by the tokens of its micro-batch

Batch = dict[str, Any]


def may_reorder(trainer: Any) -> bool:
    """Whether a row's share in a step's loss is the same in any micro-batch and on any rank."""
    return (
        trainer.loss_type in ORDER_FREE_LOSSES
        and trainer.top_entropy_quantile == 1.0  # a threshold over the tokens of a micro-batch
        and not trainer._entropy_bonus_enabled  # a mean over them
        and not trainer.aux_loss_enabled
    )


def group_alike(buffer: list[Batch], accumulation: int) -> list[Batch]:
    """Return the micro-batches with the rows of every `accumulation` of them sorted by prompt and length."""
    grouped: list[Batch] = []
    for start in range(0, len(buffer), accumulation):
        grouped += _regroup(buffer[start : start + accumulation])
    return grouped


def _regroup(step: list[Batch]) -> list[Batch]:
    rows = len(step[0]["prompt_ids"])
    prompts = [ids for batch in step for ids in batch["prompt_ids"].tolist()]
    lengths = [length for batch in step for length in batch["completion_mask"].sum(1).tolist()]
    order = sorted(range(len(prompts)), key=lambda row: (prompts[row], lengths[row]))
    places = [order[start : start + rows] for start in range(0, len(order), rows)]
    return [{name: _rows(step, name, chosen) for name in step[0]} for chosen in places]


def _rows(step: list[Batch], name: str, chosen: list[int]) -> Any:
    """The chosen rows of one column of a step; scalars and absent columns are the same in all its micro-batches."""
    first = step[0][name]
    if first is None or (isinstance(first, torch.Tensor) and first.ndim == 0):
        return first
    if isinstance(first, torch.Tensor):
        return torch.cat([batch[name] for batch in step])[chosen]
    column = [value for batch in step for value in batch[name]]
    return [column[row] for row in chosen]
