"""How far DPO's margin follows the length of the answers: the rank correlation of both over a step's pairs.

TRL logs means only, so the rows' log-probabilities are heard at the models' outputs while TRL computes its loss.

Legend: B pairs of a micro-batch; TRL's rows are the chosen answers, then the rejected ones.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import StatisticsError, correlation
from typing import Any

import torch
from accelerate.utils import gather_object

METRIC = "rewards/length_correlation"
FEWEST_PAIRS = 4
"""A correlation of fewer says nothing."""


class NotesLengthCorrelation:
    """Mixin over DPOTrainer (TRL 1.16): `_compute_loss` is listened to, `log` adds what was heard to its metrics."""

    _pairs: list[tuple[float, float]]

    def _compute_loss(self, model: Any, inputs: Any, return_outputs: bool) -> Any:
        heard: list[torch.Tensor] = []
        with listening(self, heard.append):
            result = super()._compute_loss(model, inputs, return_outputs)  # type: ignore[misc]
        if self.model.training:  # type: ignore[attr-defined]
            self._pairs = [*getattr(self, "_pairs", []), *pairs_of(heard, inputs)]
        return result

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if self.model.training:  # type: ignore[attr-defined]
            pairs = gather_object(getattr(self, "_pairs", []))
            self._pairs = []
            found = rank_correlation([margin for margin, _ in pairs], [longer for _, longer in pairs])
            if found is not None:
                self._metrics["train"][METRIC].append(found)  # type: ignore[attr-defined]
        super().log(logs, *args, **kwargs)  # type: ignore[misc]


@contextmanager
def listening(trainer: Any, hear: Callable[[torch.Tensor], None]) -> Iterator[None]:
    """Hear each row's log-probability [2B] of the policy's forward, then of the reference's."""

    def hook(module: Any, arguments: Any, output: Any) -> None:
        hear(output.log_probs.detach().sum(-1).float())

    models = [trainer.model] if trainer.ref_model is None else [trainer.model, trainer.ref_model]
    handles = [model.register_forward_hook(hook) for model in models]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def pairs_of(heard: list[torch.Tensor], inputs: Any) -> list[tuple[float, float]]:
    """(log-ratio margin, chosen less rejected tokens) of each pair; the margin is in nats, before beta."""
    if "ref_chosen_logps" in inputs:
        reference = torch.cat([inputs["ref_chosen_logps"], inputs["ref_rejected_logps"]])
    else:
        reference = heard[1]
    chosen_B, rejected_B = (heard[0] - reference).chunk(2)
    longer, shorter = inputs["completion_mask"].sum(-1).chunk(2)
    return list(zip((chosen_B - rejected_B).tolist(), (longer - shorter).float().tolist(), strict=True))


def rank_correlation(one: list[float], other: list[float]) -> float | None:
    """Spearman's coefficient, in [-1, 1]; None for few pairs and where one side does not vary."""
    if len(one) < FEWEST_PAIRS:
        return None
    try:
        return correlation(ranks(one), ranks(other))
    except StatisticsError:
        return None


def ranks(values: list[float]) -> list[float]:
    """Each value's rank from 1, equal values sharing the mean of theirs."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + bisect_right(ordered, value) + 1) / 2 for value in values]
