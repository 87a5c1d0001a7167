"""DDP's buckets are the gradients: one copy of them a rank, under accumulation too.

transformers has an option for neither half of it.
"""

import functools
from typing import Any

from torch.nn.parallel import DistributedDataParallel
from transformers import TrainerCallback


def share_gradient_buckets(trainer: Any) -> None:
    """Let DDP's buckets be the gradients, and stay so; else each rank holds them twice."""
    handler = trainer.accelerator.ddp_handler
    if handler is not None:
        handler.gradient_as_bucket_view = True
        trainer.add_callback(ZeroInPlace(trainer))


class ZeroInPlace(TrainerCallback):
    """Zero gradients where they are, in DDP's buckets.

    A gradient set to None is allocated anew beside its bucket by the micro-batches of an accumulation, which do not
    synchronize. DDP gives every parameter a gradient, so no parameter is decayed that would have been skipped.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        """The wrapped model is there; DeepSpeed's engine and a model alone keep their own way."""
        wrapped = self.trainer.model_wrapped
        if isinstance(wrapped, DistributedDataParallel):
            wrapped.zero_grad = functools.partial(wrapped.zero_grad, set_to_none=False)
