"""Devices a stage may run on: a table of GPUs from their data sheets, and the CPU of this machine.

Memory is the data sheet's figure in decimal gigabytes, which no driver undercuts. FLOP/s are dense: without the
"with sparsity" factor of two.
"""

import difflib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data.errors import UserError
from training.emulated_bf16 import SLOWER, emulates_bf16
from training.environment import available_cores, cpu_model

GB = 1e9


@dataclass(frozen=True)
class Device:
    """What one rank computes on. `memory` bytes, `flops16` and `flops32` per second, `bandwidth` bytes per second.

    `flops16` is bfloat16, or float16 where `bfloat16` is False. `watts` is the board's limit; None where nobody says.
    """

    name: str
    kind: Literal["cpu", "gpu"]
    memory: float
    flops16: float
    flops32: float
    bandwidth: float
    watts: float | None
    source: str
    bfloat16: bool = True

    def flops(self, dtype: str) -> float:
        """Peak FLOP/s in a compute dtype."""
        return self.flops32 if dtype == "float32" else self.flops16


def _gpu(name: str, memory: float, t16: float, t32: float, bandwidth: float, watts: float, source: str) -> Device:
    return Device(name, "gpu", memory * GB, t16 * 1e12, t32 * 1e12, bandwidth * GB, watts, source)


def _without_bfloat16(name: str, memory: float, t16: float, t32: float, bandwidth: float, watts: float) -> Device:
    kind = name.partition("-")[0].upper()
    source = f"NVIDIA {kind} data sheet"
    return Device(name, "gpu", memory * GB, t16 * 1e12, t32 * 1e12, bandwidth * GB, watts, source, bfloat16=False)


GPUS: dict[str, Device] = {
    device.name: device
    for device in (
        _gpu("a10-24gb", 24, 125, 31.2, 600, 150, "NVIDIA A10 data sheet"),
        _gpu("a40-48gb", 48, 149.7, 37.4, 696, 300, "NVIDIA A40 data sheet"),
        _gpu("a100-40gb", 40, 312, 19.5, 1555, 400, "NVIDIA A100 data sheet, SXM"),
        _gpu("a100-80gb", 80, 312, 19.5, 2039, 400, "NVIDIA A100 data sheet, SXM"),
        _gpu("a100-80gb-pcie", 80, 312, 19.5, 1935, 300, "NVIDIA A100 data sheet, PCIe"),
        _gpu("a800-80gb", 80, 312, 19.5, 2039, 400, "A100's figures; NVLink is slower"),
        _gpu("h100-80gb", 80, 989.4, 66.9, 3350, 700, "NVIDIA H100 data sheet, SXM"),
        _gpu("h100-80gb-pcie", 80, 756, 51.2, 2000, 350, "NVIDIA H100 data sheet, PCIe"),
        _gpu("h800-80gb", 80, 989.4, 66.9, 3350, 700, "H100's figures; NVLink is slower"),
        _gpu("h200-141gb", 141, 989.4, 66.9, 4800, 700, "NVIDIA H200 data sheet, SXM"),
        _gpu("h20-96gb", 96, 148, 44, 4000, 400, "NVIDIA H20 as published by its vendors"),
        _gpu("b200-180gb", 180, 2250, 75, 7700, 1000, "NVIDIA DGX B200 data sheet, an eighth of it"),
        _gpu("l4-24gb", 24, 121, 30.3, 300, 72, "NVIDIA L4 data sheet"),
        _gpu("l40s-48gb", 48, 362, 91.6, 864, 350, "NVIDIA L40S data sheet"),
        _gpu("rtx3090-24gb", 24, 71, 35.6, 936, 350, "NVIDIA GA102 white paper"),
        _gpu("rtx4090-24gb", 24, 165.2, 82.6, 1008, 450, "NVIDIA Ada white paper"),
        _gpu("rtx5090-32gb", 32, 209.5, 104.8, 1792, 575, "NVIDIA RTX Blackwell white paper"),
        _gpu("rtxa6000-48gb", 48, 154.8, 38.7, 768, 300, "NVIDIA GA102 white paper"),
        _gpu("mi300x-192gb", 192, 1307.4, 163.4, 5300, 750, "AMD Instinct MI300X data sheet"),
        _gpu("mi325x-256gb", 256, 1307.4, 163.4, 6000, 1000, "AMD Instinct MI325X data sheet"),
        _without_bfloat16("t4-16gb", 16, 65, 8.1, 320, 70),
        _without_bfloat16("v100-16gb", 16, 125, 15.7, 900, 300),
        _without_bfloat16("v100-32gb", 32, 125, 15.7, 900, 300),
    )
}

CORE_FLOPS = 64e9
"""Float32 peak assumed of a CPU core: two fused multiply-adds of 8 lanes a cycle at 2 GHz; a ledger corrects it."""
CORE_BANDWIDTH = 10e9
"""Memory bandwidth assumed of a CPU core."""


def find_gpu(text: str) -> Device:
    """Return a GPU by its name here, in any case, with or without its memory where that leaves no choice."""
    wanted = _plain(text)
    exact = [device for name, device in GPUS.items() if _plain(name) == wanted]
    found = exact or [device for name, device in GPUS.items() if _plain(name.split("-")[0]) == wanted]
    sizes = {device.memory for device in found}
    if found and len(sizes) == 1:
        return found[0]
    near = [device.name for device in found] or _nearest(wanted)
    hint = f"did you mean {' or '.join(near)}?" if near else "that is no GPU of the table."
    raise UserError(f"--gpu {text}: {hint} Known are {', '.join(GPUS)}")


def _nearest(wanted: str) -> list[str]:
    """At most three GPUs whose names are most like `wanted`, their memory left aside, each model's in the table's
    order.
    """
    models = dict.fromkeys(name.split("-")[0] for name in GPUS)
    near = difflib.get_close_matches(wanted, models, 3, 0.5)
    return [name for model in near for name in GPUS if name.split("-")[0] == model][:3]


def gpu_of_driver_name(text: str) -> Device | None:
    """Return the GPU that a driver calls, say, "NVIDIA H100 80GB HBM3"; None for one that is not in the table."""
    plain = _plain(text)
    matches = [device for name, device in GPUS.items() if _plain(name.split("-")[0]) in plain]
    by_size = [device for device in matches if f"{device.memory / GB:.0f}gb" in plain] or matches
    pcie = [device for device in by_size if ("pcie" in device.name) == ("pcie" in plain)] or by_size
    return max(pcie, key=lambda device: len(device.name.split("-")[0]), default=None)


def _plain(text: str) -> str:
    return "".join(letter for letter in text.lower() if letter.isalnum())


def this_cpu(processes: int, cores: int | None = None, memory: float | None = None) -> Device:
    """The share of this machine's CPU and memory that one of `processes` ranks has."""
    cores = available_cores() if cores is None else cores
    memory = machine_memory() if memory is None else memory
    share = cores / processes
    name = f"{cpu_model()}, {cores} cores" if cores > 1 else f"{cpu_model()}, 1 core"
    return Device(
        name,
        "cpu",
        memory / processes,
        CORE_FLOPS * share / (SLOWER if emulates_bf16() else 1),
        CORE_FLOPS * share,
        CORE_BANDWIDTH * share,
        None,
        "assumed: 64 GFLOP/s and 10 GB/s a core; a ledger corrects it",
    )


def this_gpu() -> Device | None:
    """The GPU in this machine as the NVIDIA driver names it, without asking torch; None where there is none."""
    for information in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in information.read_text().splitlines():
            if line.startswith("Model:"):
                return gpu_of_driver_name(line.removeprefix("Model:").strip())
    return None


def machine_memory() -> float:
    """Bytes of memory of this machine, or of the cgroup we are confined to."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
    except OSError:
        return float(installed)
    return float(min(installed, int(limit))) if limit.isdigit() else float(installed)
