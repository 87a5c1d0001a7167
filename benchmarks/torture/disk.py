"""A file system of the torture test's own, which can be made full: a tmpfs that only its processes see."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.torture.lives import ROOMY

INSIDE = "POSTTRAIN_TORTURE_DISK"
_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def has_own_disk() -> bool:
    """Whether this process already lives on it."""
    return INSIDE in os.environ


def can_have_own_disk() -> bool:
    """Whether this user may mount a file system in a namespace."""
    if shutil.which("unshare") is None:
        return False
    probe = [*_NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


def start_on_own_disk(folder: Path) -> None:
    """Become the same program in a namespace in which `folder` is a tmpfs; what is written there ends with it."""
    mount = f'mount -t tmpfs -o size={ROOMY} tmpfs "$0" && exec "$@"'
    os.environ[INSIDE] = str(folder)
    os.execvp("unshare", [*_NAMESPACE, "sh", "-c", mount, str(folder), sys.executable, "-m", *sys.orig_argv[2:]])
