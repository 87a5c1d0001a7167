"""Rules between the ranks and what `runtime.slurm` asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.pipeline import Pipeline
from training.config.slurm import Slurm

_GPUS = re.compile(r"\bgpu(?::[\w.-]+)?:(\d+)")


def gpus_asked(slurm: Slurm) -> int | None:
    """Return the GPUs of a node that the block asks for, None where it names none."""
    if slurm.gpus_per_node is not None:
        return slurm.gpus_per_node
    return gpus_named(slurm.gres or "") or None


def gpus_named(resources: str) -> int:
    """Return how many GPUs a list of generic resources names, as in gpu:h100:8(S:0-1),shard:4."""
    return sum(int(count) for count in _GPUS.findall(resources))


def ranks_have_slots(pipeline: Pipeline) -> Iterator[Finding]:
    """A node's ranks have a GPU each, where GPUs are asked for, and a CPU core each."""
    slurm = pipeline.runtime.slurm
    if slurm is None:
        return
    ranks = -(-pipeline.runtime.processes // pipeline.runtime.nodes)
    for key, slots in (("gpus_per_node" if slurm.gres is None else "gres", gpus_asked(slurm)),
                       ("cpus_per_task", slurm.cpus_per_task)):  # fmt: skip
        if slots is not None and slots < ranks:
            yield (
                ("runtime", "slurm", key),
                f"gives {slots} to the {ranks} ranks of a node; give each one, or change runtime.processes or nodes",
            )
