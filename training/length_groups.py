"""Batches of rows of like length: less padding, the same rows in every optimizer step.

transformers' `group_by_length` sorts inside chunks of fifty batches, so that rows of one length are trained together:
another experiment. Here the rows of each optimizer step stay those of the `EpochSampler` and only their order inside
the step goes by length, longest first. Losses are normalised over the whole step, so that the gradient is the same but
for the order of additions; the setting of ranks and micro-batches stays neutral. Neighbouring micro-batches go to
different ranks, so that these have like work at the same time, and what does not fit into memory fails at once.
"""

from collections.abc import Iterator
from typing import Any

from training.resumable import EpochSampler

LENGTH_COLUMNS = (
    *(("input_ids",), ("prompt_ids", "chosen_ids"), ("prompt_ids", "rejected_ids")),
    *(("chosen_ids",), ("rejected_ids",)),
)
"""Columns whose lengths add up to that of a sequence; a row is as long as its longest sequence."""


class LengthOrderedSampler(EpochSampler):
    """An EpochSampler with the rows of each optimizer step in order of length, longest first."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int):
        super().__init__(len(lengths), batch_size, seed)
        self.lengths = lengths

    def __iter__(self) -> Iterator[int]:
        order = list(super().__iter__())
        for start in range(0, len(order), self.batch_size):
            step = order[start : start + self.batch_size]
            yield from sorted(step, key=lambda row: -self.lengths[row])


def sequence_lengths(dataset: Any, max_length: int | None) -> list[int]:
    """Tokens of each row's longest sequence, as far as `max_length` leaves them; read from the data set's own columns.

    Raises KeyError for a data set without token columns.
    """
    from pyarrow import compute

    known = [columns for columns in LENGTH_COLUMNS if set(columns) <= set(dataset.column_names)]
    if not known:
        raise KeyError(f"no token columns among {dataset.column_names}")
    lengths: list[int] = []
    for batch in dataset.with_format("arrow").iter(batch_size=1000):
        of = {name: compute.list_value_length(batch[name]).to_pylist() for columns in known for name in columns}
        sequences = [map(sum, zip(*(of[name] for name in columns), strict=True)) for columns in known]
        lengths += [max(row) for row in zip(*sequences, strict=True)]
    return lengths if max_length is None else [min(length, max_length) for length in lengths]


class OrdersStepsByLength:
    """Mixin over SFTTrainer, DPOTrainer, RewardTrainer, before SamplesWholeBatches: `_get_train_sampler` (transformers
    5.23).

    Packed rows have one length and keep the plain order.
    """

    optimizer_batch: int
    epoch_sampler: EpochSampler

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        rows = self.train_dataset if train_dataset is None else train_dataset  # type: ignore[attr-defined]
        args = self.args  # type: ignore[attr-defined]
        if "seq_lengths" in rows.column_names:
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        self.epoch_sampler = LengthOrderedSampler(
            sequence_lengths(rows, args.max_length), self.optimizer_batch, args.seed
        )
        return self.epoch_sampler
