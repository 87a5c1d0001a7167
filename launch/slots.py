"""Whether this host has room for its ranks: a GPU each where there are GPUs, else a core each."""

import os
import re
from collections.abc import Mapping
from pathlib import Path

from data.errors import UserError
from launch.rendezvous import require_job
from training.config import Runtime
from training.environment import available_cores, has_accelerator

_NVIDIA_DEVICE = re.compile(r"nvidia\d+")


def require_hosts(runtime: Runtime) -> None:
    """Refuse a config whose ranks cannot be started from here: no Slurm job for several nodes, or too little in one."""
    if runtime.nodes > 1:
        require_job(runtime, os.environ)
    require_slots(runtime)


def require_slots(runtime: Runtime, outer: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> None:
    """Refuse more ranks a host than it has GPUs, or CPU ranks than cores unless the config shares them on purpose."""
    ranks = runtime.processes // runtime.nodes
    on_each = f"{ranks} ranks on each of {runtime.nodes} nodes" if runtime.nodes > 1 else f"{ranks} ranks"
    gpus = visible_gpus(outer, devices) if has_accelerator() else None
    if gpus is not None and ranks > gpus:
        raise UserError(
            f"runtime.processes = {runtime.processes}: {on_each} need a GPU each, {gpus} can be seen here; "
            f"set runtime.processes to {gpus * runtime.nodes} or fewer, or ask for more GPUs"
        )
    cores = available_cores()
    if gpus is None and ranks > cores and runtime.threads_per_process is None:
        raise UserError(
            f"runtime.processes = {runtime.processes}: {on_each}, but this process may use {cores} CPU cores; "
            f"set runtime.processes to {cores * runtime.nodes} or fewer, or runtime.threads_per_process to 1 "
            "to let ranks share cores"
        )


def visible_gpus(outer: Mapping[str, str], devices: Path) -> int | None:
    """Return how many NVIDIA GPUs ranks would see, None where it cannot be told without a driver's help (AMD)."""
    if "CUDA_VISIBLE_DEVICES" in outer:
        return len([name for name in outer["CUDA_VISIBLE_DEVICES"].split(",") if name.strip()])
    return sum(bool(_NVIDIA_DEVICE.fullmatch(path.name)) for path in devices.iterdir()) or None
