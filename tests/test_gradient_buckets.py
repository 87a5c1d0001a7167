"""DDP's buckets stay the gradients under accumulation, where torch alone would hold a second copy of them."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from training.gradient_buckets import ZeroInPlace


@pytest.fixture
def wrapped(tmp_path: Path) -> Iterator[DistributedDataParallel]:
    """A small model under DDP, in a world of one, after two steps: DDP lays its buckets out anew after the first."""
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    model = DistributedDataParallel(torch.nn.Linear(4, 3), gradient_as_bucket_view=True)
    for _ in range(2):
        model.zero_grad()
        model(torch.ones(2, 4)).sum().backward()
    yield model
    dist.destroy_process_group()


@pytest.mark.parametrize("in_place", [True, False])
def test_a_micro_batch_of_the_next_step_accumulates_in_the_bucket(
    wrapped: DistributedDataParallel, in_place: bool
) -> None:
    """Without our callback it does not: the reason for it, and what tells when torch no longer needs it."""
    if in_place:
        ZeroInPlace(SimpleNamespace(model_wrapped=wrapped)).on_train_begin()
    weight = wrapped.module.weight
    bucket = weight.grad.data_ptr()
    expected = weight.grad.clone()
    wrapped.zero_grad()
    with wrapped.no_sync():
        wrapped(torch.ones(2, 4)).sum().backward()
    assert (weight.grad.data_ptr() == bucket) == in_place
    assert torch.equal(weight.grad, expected)
