"""Score only what a GRPO micro-batch can learn from: rows with an advantage, without the padding of other rows.

When all completions of a group earn the same, their advantage is 0 and so is their gradient, yet TRL 1.16 runs forward
and backward on them; and it pads every micro-batch to the longest row of the whole rollout round. Loss, gradient and
every denominator stay TRL's (tests/test_signal_rows.py); the logged entropy is the mean over the rows scored.

Legend: B rows, T prompt and completion tokens, K completion tokens, R rows scored.
"""

from collections.abc import Callable
from typing import Any

import torch

SKIPPABLE_LOSSES = ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo")

Score = Callable[[torch.Tensor, torch.Tensor, int], tuple[torch.Tensor, torch.Tensor | None]]


def may_skip_silent_rows(trainer: Any) -> bool:
    """Whether a row of advantage 0 contributes nothing: no KL term, no entropy bonus or quantile, no auxiliary loss."""
    return (
        trainer.beta == 0.0
        and not trainer._entropy_bonus_enabled
        and trainer.top_entropy_quantile == 1.0
        and not trainer.aux_loss_enabled
        and trainer.off_policy_mask_threshold is None
        and trainer.loss_type in SKIPPABLE_LOSSES
    )


def rows_to_score(advantages_B: torch.Tensor, completion_mask_BK: torch.Tensor, skip_silent: bool) -> torch.Tensor:
    """Return the places [R] of the rows to score, at least one: every rank needs a backward in every micro-step."""
    if not skip_silent:
        return torch.arange(len(advantages_B), device=advantages_B.device)
    rows_R = (advantages_B != 0).nonzero()[:, 0]
    if len(rows_R) == 0:
        return completion_mask_BK.sum(1).argmin()[None]
    return rows_R


def score_rows(
    score: Score, ids_BT: torch.Tensor, mask_BT: torch.Tensor, keep: int, rows_R: torch.Tensor, fill_BK: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Return (log-probabilities [B, K], entropies [B, K]) of the last `keep` tokens, K = `keep`.

    `score(ids, mask, keep)` runs on the chosen rows with columns that are padding in all of them cut off. Rows left out
    have `fill_BK` as log-probability (a constant: what the loss compares them with) and the scored rows' mean entropy.
    """
    ids_RT, mask_RT = ids_BT[rows_R], mask_BT[rows_R]
    columns = mask_RT.any(0).nonzero()[:, 0]
    prompt = ids_BT.size(1) - keep
    first = min(int(columns[0]), prompt - 1)
    last = max(int(columns[-1]) + 1, prompt + 1)
    short = last - prompt
    logps_RS, entropies_RS = score(ids_RT[:, first:last], mask_RT[:, first:last], short)
    logps_BK = fill_BK.to(logps_RS.dtype).clone()
    logps_BK[rows_R, :short] = logps_RS
    if entropies_RS is None:
        return logps_BK, None
    counted_RS = mask_RT[:, prompt:last]
    mean = (entropies_RS * counted_RS).sum() / counted_RS.sum().clamp(min=1)
    entropies_BK = mean.detach().expand_as(logps_BK).clone()
    entropies_BK[rows_R, :short] = entropies_RS.detach()
    return logps_BK, entropies_BK
