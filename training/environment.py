"""Where a stage ran: packages, source checkout, machine. Facts for the record, never part of a fingerprint."""

import functools
import hashlib
import os
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

CPUINFO = Path("/proc/cpuinfo")
PACKAGES = (
    "posttrain", "torch", "trl", "transformers", "peft", "datasets", "accelerate", "deepspeed", "tokenizers", 
    "safetensors", "numpy", "pydantic", "reasoning-gym", "math-verify", "py3langid", "wandb", "vllm", "flash-attn",
    "bitsandbytes",
)  # fmt: skip
"""Packages that can change what a stage computes or what it writes; absent ones are left out."""


def describe_environment() -> dict[str, Any]:
    """Return the facts known without torch; the stage adds device, processes, threads_per_process and zero_stage."""
    commit, dirty = source_state(Path(__file__).resolve().parent.parent)
    return {
        "git_commit": commit,
        "git_dirty_sha256": dirty,
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "hostname": platform.node(),
        "cpu": cpu_model(),
        "cpu_count": available_cores(),
        "executable": sys.executable,
    }


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the installed version of every package in `PACKAGES`."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def source_state(root: Path) -> tuple[str | None, str | None]:
    """Return (commit, sha256 of what differs from it) of the checkout at `root`.

    The second is None for a clean tree, both are None where `root` is no checkout or git is not installed.
    """
    top = _git(root, "rev-parse", "--show-toplevel")
    if top is None or Path(top.decode().strip()).resolve() != root.resolve():
        return None, None
    commit = _git(root, "rev-parse", "HEAD")
    changed = _git(root, "diff", "--binary", "HEAD") or b""
    untracked = (_git(root, "ls-files", "--others", "--exclude-standard", "-z") or b"").split(b"\0")
    digest = hashlib.sha256(changed)
    for name in sorted(filter(None, untracked)):
        path = root / os.fsdecode(name)
        digest.update(name + b"\0" + (path.read_bytes() if path.is_file() else b"") + b"\0")
    dirty = digest.hexdigest() if changed or any(untracked) else None
    return (commit.decode().strip() if commit else None), dirty


def _git(root: Path, *arguments: str) -> bytes | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, timeout=30, check=False)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def cpu_flags(cpuinfo: Path = CPUINFO) -> frozenset[str]:
    """Return the processor's features as Linux names them (avx2, amx_bf16, ...); none where it does not tell."""
    return frozenset((_told_by(cpuinfo, "flags", "Features") or "").split())


def cpu_model() -> str:
    """Return the processor's name as Linux tells it, or what Python's platform module knows."""
    return _told_by(CPUINFO, "model name") or platform.processor() or platform.machine()


def _told_by(cpuinfo: Path, *keys: str) -> str | None:
    """The first value of any of these keys; None where Linux does not tell."""
    try:
        for line in cpuinfo.read_text().splitlines():
            if line.startswith(keys):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def available_cores() -> int:
    """Return the number of cores this process may use (its affinity mask, not the machine's total)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment_differences(recorded: dict[str, Any], present: dict[str, Any]) -> list[str]:
    """Return in words how the environment of a record differs from the present one: packages, source, Python."""
    differences = []
    then, now = recorded.get("packages", {}), present.get("packages", {})
    for name in sorted(then.keys() | now.keys()):
        if then.get(name) != now.get(name):
            differences.append(f"{name} {then.get(name, 'absent')} -> {now.get(name, 'absent')}")
    for key, label in (("python", "Python"), ("git_commit", "commit"), ("git_dirty_sha256", "uncommitted changes")):
        if recorded.get(key) != present.get(key):
            differences.append(f"{label} {_short(recorded.get(key))} -> {_short(present.get(key))}")
    return differences


def _short(value: Any) -> str:
    return "none" if value is None else str(value)[:12]


def has_accelerator() -> bool:
    """Whether the kernel shows an NVIDIA or AMD device and it is not hidden (asking torch would cost seconds)."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "any") == "":
        return False
    return any(Path(device).exists() for device in ("/dev/nvidiactl", "/dev/kfd"))


def device_name() -> str:
    """The accelerator's name, or cpu."""
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
