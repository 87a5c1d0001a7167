"""The doctor's checks of Python, packages, the compiler and Slurm."""

import platform
import re
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from data.errors import UserError
from launch.doctor_finding import Finding, Machine
from training.build_lock import stale_locks
from training.environment import has_accelerator
from training.vllm_environment import require_vllm

OLDEST_PYTHON = (3, 11)
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^;\s]+)")
REPAIR = "run `make install` in the checkout"


def python(machine: Machine) -> Iterable[Finding]:
    """The interpreter that runs us is one of those we are tested with."""
    found = f"{platform.python_version()}, {sys.executable}"
    old = sys.version_info < OLDEST_PYTHON
    yield Finding("python", "fail" if old else "ok", found, "use Python 3.11 or newer")


def packages(machine: Machine) -> Iterable[Finding]:
    """Every pinned package is there, in the pinned version: seams with TRL are written against one version."""
    lines = [_PIN.match(line) for line in metadata.requires("posttrain") or []]
    pins = {match[1]: match[2] for match in lines if match}
    wrong = []
    for name, pinned in pins.items():
        try:
            installed = metadata.version(name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{name} is missing ({pinned} is pinned)")
            continue
        if installed.split("+")[0] != pinned:  # a local part names the build: 2.13.0+cpu
            wrong.append(f"{name} {installed} ({pinned} is pinned)")
    core = ", ".join(f"{name} {pins[name]}" for name in ("torch", "trl", "transformers", "deepspeed") if name in pins)
    found = "; ".join(wrong) if wrong else f"{len(pins)} as pinned: {core}, ..."
    yield Finding("packages", "fail" if wrong else "ok", found, REPAIR)


def compiler(machine: Machine) -> Iterable[Finding]:
    """DeepSpeed builds an operator when it starts on CPU ranks: it needs a C++ compiler, Python's headers and ninja."""
    program = machine.environment.get("CXX", "c++")
    missing = [] if shutil.which(program) else [f"no {program}"]
    if not (Path(sysconfig.get_paths()["include"]) / "Python.h").is_file():
        missing.append("no Python.h")
    if not shutil.which("ninja") and not (Path(sys.executable).parent / "ninja").exists():
        missing.append("no ninja")
    needed = machine.runtime.zero_stage > 0 and not has_accelerator()
    found = ", ".join(missing) or f"{shutil.which(program)}, Python.h, ninja"
    if missing and not needed:
        found += "; only ZeRO on CPU ranks needs it"
    fix = "apt-get install g++ python3-dev, pip install ninja; or set runtime.zero_stage to 0"
    yield Finding("compiler", "fail" if missing and needed else "ok", found, fix)


def build_locks(machine: Machine) -> Iterable[Finding]:
    """No killed process has left a lock behind for which every later start of DeepSpeed would wait."""
    stale = stale_locks()
    found = ", ".join(str(path) for path in stale) + " is held by nobody" if stale else "none left behind"
    fix = "a run with ZeRO removes it; otherwise `rm` it"
    yield Finding("build locks", "warn" if stale else "ok", found, fix)


def vllm(machine: Machine) -> Iterable[Finding]:
    """Where a stage's completions are drawn by vLLM, it is installed and its mode can run here."""
    if machine.pipeline is None or machine.pipeline.runtime.vllm is None:
        return
    try:
        yield Finding("vllm", "ok", require_vllm(machine.pipeline) or "")
    except UserError as error:
        yield Finding("vllm", "fail", f"mode {machine.pipeline.runtime.vllm.mode} cannot be used", str(error))


def slurm(machine: Machine) -> Iterable[Finding]:
    """Where ranks go over several nodes, Slurm's commands are there."""
    there = [name for name in ("sbatch", "srun", "scontrol") if shutil.which(name)]
    needed = machine.runtime.nodes > 1
    job = machine.environment.get("SLURM_JOB_ID")
    found = (", ".join(there) or "not installed") + (f"; this is job {job}" if job else "")
    if not needed and not there:
        found += "; only runtime.nodes > 1 and `posttrain submit` need it"
    fix = "run this on a login node of the cluster; without Slurm, `deepspeed --hostfile` (docs/launching.md)"
    yield Finding("slurm", "fail" if needed and len(there) < 3 else "ok", found, fix)
