"""A micro-batch in parts that fit `runtime.micro_batch_tokens`: many short rows at once, few long ones.

The parts' gradients add up to the micro-batch's: SFT's loss is normalised by the tokens of the whole step, a mean over
pairs is weighted by each part's pairs. So the number is neutral, like `micro_batch_size`, which stays the most rows at
once. What TRL logs as a mean over micro-batches (entropy, token accuracy, implicit rewards) becomes one over
parts. Not under DeepSpeed, whose ranks must run the same number of passes (refused by the config).
"""

from contextlib import nullcontext
from typing import Any

import torch

Inputs = dict[str, Any]


def split(inputs: Inputs, budget: int, pairs: bool = False) -> list[tuple[Inputs, float]]:
    """Return parts of a collated, right-padded batch with their share of its rows; padding counts towards `budget`.

    With `pairs` (DPO's batches are known by their completion_mask) row `i` and row `i + n` stay together. A row longer
    than the budget is a part of its own; a packed batch is one long row and not split.
    """
    if "attention_mask" not in inputs:
        return [(inputs, 1.0)]
    mask_BT = inputs["attention_mask"]
    halves = 2 if pairs or "completion_mask" in inputs else 1
    count = len(mask_BT) // halves
    widths = mask_BT.sum(1).view(halves, count).amax(0).tolist()
    groups: list[list[int]] = []
    for place in sorted(range(count), key=lambda place: -widths[place]):
        widest = widths[groups[-1][0]] if groups else 0
        if groups and (len(groups[-1]) + 1) * halves * widest <= budget:
            groups[-1].append(place)
        else:
            groups.append([place])
    if len(groups) == 1:
        return [(inputs, 1.0)]
    return [(_part(inputs, group, count, halves, int(widths[group[0]])), len(group) / count) for group in groups]


def _part(inputs: Inputs, group: list[int], count: int, halves: int, width: int) -> Inputs:
    """The group's rows of every tensor, cut to the longest of them."""
    rows = [place + half * count for half in range(halves) for place in group]
    part: Inputs = {}
    for name, value in inputs.items():
        if not isinstance(value, torch.Tensor) or value.ndim == 0:
            part[name] = value
        elif value.ndim == 1:  # one number a pair: reference log-probabilities
            part[name] = value[group]
        else:
            part[name] = value[rows][:, :width]
    return part


class SplitsByTokens:
    """Mixin over SFTTrainer, DPOTrainer, RewardTrainer: `training_step` (TRL 1.16, transformers 5.23), once a part."""

    micro_batch_tokens: int | None = None
    current_gradient_accumulation_steps: float

    def training_step(self, model: Any, inputs: Inputs, num_items_in_batch: Any = None) -> torch.Tensor:
        step: Any = super().training_step  # type: ignore[misc]
        if self.micro_batch_tokens is None:
            return step(model, inputs, num_items_in_batch)
        parts = split(inputs, self.micro_batch_tokens, pairs="labels" not in inputs)
        accelerator, whole = self.accelerator, self.current_gradient_accumulation_steps  # type: ignore[attr-defined]
        losses = []
        for number, (part, share) in enumerate(parts, start=1):
            # What transformers divides a mean loss by; SFT's sum over the step's tokens is not divided.
            self.current_gradient_accumulation_steps = whole / share
            with nullcontext() if number == len(parts) else accelerator.no_sync(model):
                losses.append(step(model, part, num_items_in_batch))
        self.current_gradient_accumulation_steps = whole
        return torch.stack(losses).sum()
