"""The doctor's check of GPUs: what the driver lists, and whether torch and NCCL can use it."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from launch.doctor_finding import Finding, Machine, State
from training.environment import has_accelerator

_QUERY = ["nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits"]
_TIMEOUT_S = 60.0
_TORCH = """\
import json, torch, torch.distributed
count = torch.cuda.device_count()
nccl = torch.cuda.nccl.version() if torch.cuda.is_available() and torch.distributed.is_nccl_available() else None
bf16 = torch.cuda.is_available() and torch.cuda.is_bf16_supported()
print(json.dumps({"version": torch.__version__, "count": count, "nccl": nccl, "bf16": bf16}))
"""


def gpus(machine: Machine) -> Iterable[Finding]:
    """Each GPU the driver lists is one that torch sees, enough for the ranks, with NCCL where there are several."""
    listed = driver_s_gpus()
    if listed is None:
        yield _none(machine)
        return
    if isinstance(listed, str):
        yield Finding("gpu", "fail", listed, "reinstall or reload the driver: `nvidia-smi` must list the GPUs")
        return
    names = ", ".join(f"{listed.count(name)} x {name}" for name in dict.fromkeys(listed))
    seen = torch_s_view()
    if seen is None:
        yield Finding("gpu", "fail", f"{names}; torch could not be asked", "see the packages' check")
        return
    count = int(seen["count"])
    if count == 0:
        fix = "install torch's CUDA build (`make install`), check CUDA_VISIBLE_DEVICES and the driver's age"
        yield Finding("gpu", "fail", f"{names}; torch {seen['version']} sees none", fix)
        return
    yield Finding("gpu", "ok", f"{names}; torch {seen['version']} sees {count}")
    if seen["nccl"] is None:
        state: State = "fail" if machine.ranks_here > 1 or machine.runtime.nodes > 1 else "warn"
        yield Finding("nccl", state, "torch was built without it", "install torch's CUDA build from PyPI")
    else:
        yield Finding("nccl", "ok", ".".join(str(part) for part in seen["nccl"]))
    if not seen["bf16"]:
        yield Finding("bf16", "warn", "these GPUs have none", "set bf16: false in every stage's trainer")


def _none(machine: Machine) -> Finding:
    if has_accelerator() and Path("/dev/nvidiactl").exists():
        return Finding("gpu", "fail", "a driver's device, but no nvidia-smi", "put nvidia-smi on the PATH")
    if has_accelerator():
        fix = "see whether `rocm-smi` lists the GPUs; AMD GPUs were never run by us"
        return Finding("gpu", "warn", "an AMD device, which is not checked", fix)
    return Finding("gpu", "ok", "none: ranks run on the CPU")


def driver_s_gpus() -> list[str] | str | None:
    """Return the GPUs' names as nvidia-smi lists them, what it says when it fails, or None where there is none."""
    if shutil.which(_QUERY[0]) is None:
        return None
    try:
        done = subprocess.run(_QUERY, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return f"nvidia-smi has not answered for {_TIMEOUT_S:.0f} s"
    if done.returncode != 0:
        return (done.stdout.strip() or done.stderr.strip() or f"exit code {done.returncode}").splitlines()[0]
    names = []
    for line in done.stdout.splitlines():
        name, megabytes, driver = (part.strip() for part in line.rsplit(",", 2))
        names.append(f"{name} {float(megabytes) / 1024:.0f} GiB (driver {driver})")
    return names


def torch_s_view() -> dict[str, Any] | None:
    """Ask torch in a process of its own; None where it cannot be imported or hangs."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _TORCH], capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return None
    if done.returncode != 0:
        return None
    view: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return view
