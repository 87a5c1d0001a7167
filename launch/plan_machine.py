"""Which machine `posttrain plan` plans for: the one named on the command line, this one, or none that is known."""

from collections.abc import Sequence
from dataclasses import dataclass

from data.errors import UserError
from training.config import Runtime
from training.environment import available_cores, has_accelerator
from training.estimate.hardware import Device, find_gpu, this_cpu, this_gpu


@dataclass(frozen=True)
class Machine:
    """`device` is None where the config is meant for machines that nobody named; `why` says how it was chosen."""

    device: Device | None
    why: str


def rank_overrides(gpus: int | None, nodes: int | None, gpus_per_node: int | None) -> Sequence[str]:
    """The overrides of `runtime` that --gpus, --nodes and --gpus-per-node stand for."""
    if gpus is not None and gpus_per_node is not None:
        raise UserError("--gpus counts all GPUs and --gpus-per-node those of each node; give one of them")
    for name, count in (("--gpus", gpus), ("--nodes", nodes), ("--gpus-per-node", gpus_per_node)):
        if count is not None and count < 1:
            raise UserError(f"{name} {count}: must be at least 1")
    if gpus is None and nodes is None and gpus_per_node is None:
        return []
    ranks = gpus if gpus is not None else (nodes or 1) * (gpus_per_node or 8)
    return [f"runtime.processes={ranks}", *([f"runtime.nodes={nodes}"] if nodes is not None else [])]


def machine(runtime: Runtime, gpu: str | None, on_gpus: bool) -> Machine:
    """Choose the device; `on_gpus` says that the command line counts GPUs, whose kind it then has to name."""
    if gpu is not None:
        return Machine(find_gpu(gpu), "named by --gpu")
    here = this_gpu() if has_accelerator() else None
    if here is not None:
        return Machine(here, "the GPU of this machine")
    elsewhere = runtime.nodes > 1 or runtime.slurm is not None or runtime.processes > available_cores()
    if on_gpus or elsewhere or has_accelerator():
        return Machine(None, "no kind of GPU is named: give --gpu, for example --gpu h100-80gb")
    return Machine(this_cpu(runtime.processes), "this machine; --gpu names another")
