"""What DeepSpeed's CPU ranks leave in shared memory: a buffer of 67 MB each, which it never removes."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

FOLDER = Path("/dev/shm")


def remove_buffers(environments: Sequence[Mapping[str, str]]) -> None:
    """Remove the buffers of these ranks, before they start (a dead run's of the same port) and after they ended.

    Only their own: ranks of another node may share this host, and would wait for ever for one that was removed early.
    DeepSpeed names them by user, rendezvous and rank (csrc/cpu/comm/shm.cpp, `shm_initialize`).
    """
    for environment in environments:
        if "MASTER_PORT" in environment:
            meeting = f"{environment['MASTER_ADDR']}_{environment['MASTER_PORT']}_{environment['RANK']}"
            (FOLDER / f"deepspeed_allreduce_buffer_{os.getuid()}_{meeting}").unlink(missing_ok=True)
