"""Weights, gradients and optimizer states of one rank under ZeRO (arXiv 1910.02054, section 5 and Fig. 1)."""

from dataclasses import dataclass

ADAM_MOMENTS = 8
MASTER = 4
BUCKET = 500_000_000
"""DeepSpeed's default `reduce_bucket_size`, in numbers: the gradients of ZeRO-1 and 2 pass through one such buffer."""
CPU_BUCKET = 30_000_000
"""What ranks on a CPU are given instead (`training.trainer_args`)."""
LIVE = 50_000_000
"""DeepSpeed's default `stage3_prefetch_bucket_size`, in numbers: gathered ahead of the layer that computes."""


@dataclass(frozen=True)
class States:
    """Bytes of one rank."""

    weights: float
    gradients: float
    optimizer: float

    @property
    def total(self) -> float:
        """All three together: what the paper calls model states."""
        return self.weights + self.gradients + self.optimizer


def zero_states(
    parameters: float,
    ranks: int,
    stage: int,
    weight_bytes: float = 2,
    gradient_bytes: float = 2,
    optimizer_bytes: float = MASTER + ADAM_MOMENTS,
) -> States:
    """Model states of `parameters` trained numbers: 2 + 2 + 12 bytes each in mixed precision, split by the stage.

    Stage 1 divides the optimizer states by the ranks, stage 2 the gradients too, stage 3 the weights as well. Without
    DeepSpeed (stage 0) our float32 masters are the weights: 4 + 4 + 8 bytes, also under bf16 autocast.
    """
    return States(
        weights=parameters * weight_bytes / (ranks if stage >= 3 else 1),
        gradients=parameters * gradient_bytes / (ranks if stage >= 2 else 1),
        optimizer=parameters * optimizer_bytes / (ranks if stage >= 1 else 1),
    )


def bucket_bytes(parameters: float, stage: int, gradient_bytes: float, largest_layer: float, on_cpu: bool) -> float:
    """Bytes of DeepSpeed's communication buffers; a CPU only pays for the part that gradients touch.

    Stages 1 and 2 reduce through one bucket; stage 3 gathers the layer that computes and prefetches the next.
    """
    if stage == 0:
        return 0.0
    bucket = min(CPU_BUCKET, parameters) if on_cpu else BUCKET
    if stage < 3:
        return bucket * gradient_bytes
    return (bucket + largest_layer + min(LIVE, parameters)) * gradient_bytes
