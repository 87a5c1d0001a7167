"""Each of several points at once gets its own share of the machine: GPUs of its own, and a part of the CPU cores."""

import os
from collections.abc import Mapping
from pathlib import Path

from data.errors import UserError
from training.environment import available_cores

_GPUS_DIR = Path("/proc/driver/nvidia/gpus")


def visible_gpus(outer: Mapping[str, str] = os.environ, listed: Path = _GPUS_DIR) -> list[str]:
    """Return what CUDA_VISIBLE_DEVICES names, else the numbers of the NVIDIA GPUs that the kernel lists."""
    named = outer.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [part.strip() for part in named.split(",") if part.strip()]
    return [str(number) for number, _ in enumerate(listed.iterdir())] if listed.is_dir() else []


def gpu_share(slot: int, parallel: int, processes: int, gpus: list[str]) -> dict[str, str]:
    """Return the environment that gives a slot GPUs of its own; {} where points do not run side by side, or on CPUs.

    Raises UserError where the points at once have more ranks than there are GPUs.
    """
    if parallel == 1 or not gpus:
        return {}
    if parallel * processes > len(gpus):
        raise UserError(
            f"{parallel} points of {processes} ranks at once need {parallel * processes} GPUs, {len(gpus)} are here; "
            f"use --parallel {max(1, len(gpus) // processes)}"
        )
    mine = gpus[slot * processes : (slot + 1) * processes]
    return {"CUDA_VISIBLE_DEVICES": ",".join(mine)}


def threads_share(parallel: int, processes: int, threads: int | None) -> list[str]:
    """Return the override that divides the cores among points that run at once; none where the config says threads."""
    if parallel == 1 or threads is not None:
        return []
    return [f"runtime.threads_per_process={max(1, available_cores() // (parallel * processes))}"]
