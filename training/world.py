"""The ranks of a stage as its launcher gave them: our own starter, torchrun, deepspeed, accelerate or srun alike."""

import os
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from data.errors import UserError

COLLECTIVE_TIMEOUT_VARIABLE = "POSTTRAIN_COLLECTIVE_TIMEOUT_S"
"""Seconds a rank waits in a collective before torch ends it; unset, torch's own: 30 minutes, 10 under NCCL."""
THREADS_VARIABLE = "POSTTRAIN_THREADS"
"""CPU threads that our own starter chose for a rank. Under other launchers it is not set, and OMP_NUM_THREADS says
nothing there: torchrun and accelerate set it to 1 where the user has not.
"""
LONGEST_WORK = timedelta(days=7)
"""How long ranks wait for rank 0 in `others_wait`."""
LATE_FILE_S = 30.0
"""How long a file that another node has written may take to be seen here (NFS caches directories)."""


@dataclass(frozen=True)
class World:
    """This process's rank and how many there are."""

    rank: int
    local_rank: int
    size: int

    @property
    def is_main(self) -> bool:
        """Whether this rank writes what is written once."""
        return self.rank == 0


def read_world(processes: int) -> World:
    """Read RANK, LOCAL_RANK and WORLD_SIZE; a size other than `runtime.processes` is a UserError."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size != processes:
        raise UserError(
            f"the launcher started {size} rank(s), runtime.processes says {processes}; "
            f"pass --set runtime.processes={size}, or start {processes}"
        )
    rank = int(os.environ.get("RANK", "0"))
    return World(rank, int(os.environ.get("LOCAL_RANK", str(rank))), size)


def barrier(world: World) -> None:
    """Wait for every rank; torch.distributed is joined on first use."""
    if world.size > 1:
        join(world)
        import torch.distributed

        torch.distributed.barrier()


@contextmanager
def others_wait(world: World) -> Iterator[None]:
    """Rank 0 works in the block for as long as it takes (a big model is written for longer than a collective waits: 10
    minutes under NCCL), the other ranks wait at its end; every rank must enter it.

    They meet in a gloo group of their own, made before the work begins. A hang is the hang doctor's to tell.
    """
    if world.size == 1:
        yield
        return
    join(world)
    import torch.distributed

    group = torch.distributed.new_group(backend="gloo", timeout=LONGEST_WORK)
    yield
    torch.distributed.barrier(group=group)
    torch.distributed.destroy_process_group(group)


def gather(world: World, value: Any) -> list[Any]:
    """Every rank's `value` (JSON-like), in rank order, on every rank."""
    if world.size == 1:
        return [value]
    join(world)
    import torch.distributed

    values: list[Any] = [None] * world.size
    torch.distributed.all_gather_object(values, value)
    return values


def join(world: World) -> None:
    """Join the process group that accelerate and DeepSpeed would make: gloo, or NCCL where there is a GPU."""
    import torch
    import torch.distributed

    if world.size > 1 and not torch.distributed.is_initialized():
        backend = "nccl" if torch.cuda.is_available() else "gloo"
        if torch.cuda.is_available():
            torch.cuda.set_device(world.local_rank)
        seconds = os.environ.get(COLLECTIVE_TIMEOUT_VARIABLE)
        timeout = None if seconds is None else timedelta(seconds=float(seconds))
        torch.distributed.init_process_group(backend, timeout=timeout)


def join_deepspeed_on_cpu() -> None:
    """Make accelerate's state before transformers does: without a GPU it would name no backend and count one rank."""
    import torch

    if not torch.cuda.is_available():
        from accelerate import PartialState

        PartialState(backend="gloo")


def is_port_taken(error: BaseException) -> bool:
    """Whether the ranks could not meet because something else listens on MASTER_PORT; all of torch's store errors are
    DistNetworkErrors whose text alone tells them apart."""
    return type(error).__name__ == "DistNetworkError" and "EADDRINUSE" in str(error)


def leave() -> None:
    """Leave the process group, if one was joined."""
    import torch.distributed

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def peak_memory_gb() -> float:
    """Peak memory of this rank in GB (1e9 bytes): the device's when there is one, else the process's resident set."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
