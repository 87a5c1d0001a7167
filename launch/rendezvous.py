"""Where the ranks of a stage meet: the address and port of rank 0's host, decided once by the runner."""

import errno
import os
import re
import shutil
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass

from data.errors import UserError
from training.config import Runtime

_NODE_ADDRESS = re.compile(r"\bNodeAddr=(\S+)")


@dataclass(frozen=True)
class Rendezvous:
    """MASTER_ADDR and MASTER_PORT."""

    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


def local_rendezvous(runtime: Runtime) -> Rendezvous:
    """Ranks of one host meet on its loopback interface."""
    return Rendezvous("127.0.0.1", _port(runtime, "127.0.0.1"))


def slurm_rendezvous(runtime: Runtime, outer: Mapping[str, str] = os.environ) -> Rendezvous:
    """Ranks of a Slurm job meet on its first node, where the job's script and so the runner are.

    The address is Slurm's own for that node, by which its daemons reach it too. Raises UserError outside a job, in one
    with too few nodes, and where Slurm's commands are missing.
    """
    require_job(runtime, outer)
    node = _ask("scontrol", "show", "hostnames", outer["SLURM_JOB_NODELIST"]).split()[0]
    found = _NODE_ADDRESS.search(_ask("scontrol", "show", "node", node))
    if found is None:
        raise UserError(f"`scontrol show node {node}` names no NodeAddr; is Slurm's configuration readable here?")
    return Rendezvous(found[1], _port(runtime, ""))


def require_job(runtime: Runtime, outer: Mapping[str, str]) -> None:
    """Refuse `runtime.nodes` > 1 unless this is the script of a Slurm job with as many nodes."""
    if "SLURM_JOB_NODELIST" not in outer:
        raise UserError(
            f"runtime.nodes = {runtime.nodes}: ranks on other hosts are started through Slurm, and this is no Slurm "
            "job; use `posttrain submit CONFIG`, or start the stages by hand with `deepspeed --hostfile` "
            "(docs/launching.md)"
        )
    given = int(outer.get("SLURM_JOB_NUM_NODES", "1"))
    if given < runtime.nodes:
        raise UserError(
            f"runtime.nodes = {runtime.nodes}, but the Slurm job has {given}; ask for {runtime.nodes} nodes, "
            f"or set runtime.nodes to {given}"
        )
    if outer.get("SLURM_STEP_ID", "").isdecimal():
        raise UserError(
            f"runtime.nodes = {runtime.nodes}: call `posttrain run` in the job's script itself, without srun; "
            "it starts one step with srun for every stage"
        )
    for program in ("srun", "scontrol"):
        if shutil.which(program) is None:
            raise UserError(f"runtime.nodes = {runtime.nodes} needs Slurm's {program}, which is not on the PATH")


def _port(runtime: Runtime, address: str) -> int:
    if runtime.master_port is None:
        return free_port(address)
    try:
        _bind(address, runtime.master_port)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise UserError(
            f"runtime.master_port = {runtime.master_port}: the port is taken on {socket.gethostname()}; "
            "choose another, or null for a free one"
        ) from error
    return runtime.master_port


def free_port(address: str = "127.0.0.1") -> int:
    """Return a TCP port of this host that nothing listens on."""
    return _bind(address, 0)


def _bind(address: str, port: int) -> int:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port in TIME_WAIT is free for a listener
        probe.bind((address, port))
        return int(probe.getsockname()[1])


def _ask(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise UserError(f"`{' '.join(command)}` failed: {done.stderr.strip() or f'exit code {done.returncode}'}")
    return done.stdout
