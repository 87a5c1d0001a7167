"""What can happen to a run at a point: each kind is done by the process that reaches it, to itself or to the others."""

import contextlib
import os
import random
import resource
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

POWER_CUT, DAMAGED = "power cut", "damaged checkpoint"
FULL_DISK, FILE_SIZE_LIMIT = "full disk", "file size limit (for a full disk)"
LEFT_ROOM = 96 << 10
"""Bytes that a disk made full still has at most: less than a checkpoint of the tiny model takes."""


def kill_rank(run_dir: Path, rng: random.Random) -> None:
    """The rank dies, as by the kernel's out-of-memory killer."""
    os.kill(os.getpid(), signal.SIGKILL)


def kill_runner(run_dir: Path, rng: random.Random) -> None:
    """`posttrain run` dies; its ranks are left."""
    os.kill(os.getppid(), signal.SIGKILL)


def children(pid: int) -> list[int]:
    """The processes that a process has started and that have not been waited for."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def kill_everything(run_dir: Path, rng: random.Random) -> None:
    """The runner and all its ranks die at once."""
    runner = os.getppid()
    for pid in [runner, *(child for child in children(runner) if child != os.getpid())]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def signal_runner(number: signal.Signals) -> Callable[[Path, random.Random], None]:
    """A signal to `posttrain run`."""
    return lambda run_dir, rng: os.kill(os.getppid(), number)


def signal_rank(number: signal.Signals) -> Callable[[Path, random.Random], None]:
    """A signal to one rank alone."""
    return lambda run_dir, rng: os.kill(os.getpid(), number)


def out_of_memory(run_dir: Path, rng: random.Random) -> None:
    """From here on the rank may take no more address space than it has: allocations fail."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used, used))


def fill_disk(run_dir: Path, rng: random.Random) -> None:
    """The file system of the run folder, a tmpfs of its own, is made as small as what it holds, or little larger."""
    used = shutil.disk_usage(run_dir).used
    resize(run_dir, used + rng.randrange(LEFT_ROOM))


def limit_file_size(run_dir: Path, rng: random.Random) -> None:
    """Stands in for a full disk where no file system can be mounted: writing more than so much of a file fails."""
    limit = rng.randrange(4096, LEFT_ROOM)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def resize(folder: Path, size: int) -> None:
    """Give the tmpfs that `folder` lies on another size in bytes."""
    where = folder
    while not os.path.ismount(where):
        where = where.parent
    subprocess.run(["mount", "-o", f"remount,size={size}", str(where)], check=True)


KINDS: dict[str, Callable[[Path, random.Random], None]] = {
    "SIGKILL of a rank": kill_rank,
    "SIGKILL of the runner": kill_runner,
    "SIGKILL of everything": kill_everything,
    "SIGTERM to the runner": signal_runner(signal.SIGTERM),
    "SIGTERM to a rank": signal_rank(signal.SIGTERM),
    "SIGUSR1 to the runner": signal_runner(signal.SIGUSR1),
    "SIGUSR1 to a rank": signal_rank(signal.SIGUSR1),
    "SIGHUP to the runner": signal_runner(signal.SIGHUP),
    "out of memory": out_of_memory,
    FULL_DISK: fill_disk,
    FILE_SIZE_LIMIT: limit_file_size,
    DAMAGED: kill_everything,
    POWER_CUT: kill_everything,
}
"""A damaged checkpoint and a power cut begin with everything dead; `benchmarks.torture.damage` does the rest."""
