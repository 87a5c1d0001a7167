"""A two-node Slurm cluster on this machine, from Debian's slurm-wlm and munge: started in a folder, stopped by pid.

`python -m tests.slurm_cluster` starts one, opens a shell in which sbatch, squeue and srun talk to it, and stops it when
the shell ends. Needs root (slurmd does) and nothing that was configured before: munge gets a key and a socket of its
own, slurmctld and the two slurmd free ports, a state folder and a spool folder each.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

NODES = ("n1", "n2")
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 10.0

_CONFIG = """\
ClusterName=posttrain
SlurmctldHost={host}
SlurmctldPort={ctld_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={socket},cred_expire=15
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
KillWait=10
MinJobAge=7200
MessageTimeout=60
SlurmdTimeout=300
InactiveLimit=0
PreemptMode=REQUEUE
PreemptType=preempt/partition_prio
{nodes}
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=60
"""


class SlurmCluster:
    """Runs for a `with` block; `environment` holds what a client program needs to talk to it."""

    def __init__(self, folder: Path, cores_per_node: int = 2, proctrack: str = "linuxproc") -> None:
        self.folder = folder
        self.cores_per_node = cores_per_node
        self.proctrack = proctrack
        self._daemons: list[tuple[str, subprocess.Popen[bytes]]] = []

    @property
    def environment(self) -> dict[str, str]:
        """The environment of this process with the cluster's configuration named in it."""
        return {**os.environ, "SLURM_CONF": str(self.folder / "slurm.conf")}

    def __enter__(self) -> "SlurmCluster":
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self._stop()

    def _start(self) -> None:
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        munge_socket = self.folder / "munge.socket"
        self._write_config(munge_socket)
        files = [
            f"--{name}={self.folder / file}"
            for name, file in (("pid-file", "munge.pid"), ("log-file", "munge.log"), ("seed-file", "munge.seed"))
        ]
        munge = ["munged", "--foreground", "--force", f"--key-file={key}", f"--socket={munge_socket}", *files]
        self._daemon("munged", munge)
        self._until(munge_socket.exists, "munged makes its socket")
        self._daemon("slurmctld", ["slurmctld", "-D", "-c"])
        for node in NODES:
            self._daemon(f"slurmd-{node}", ["slurmd", "-D", "-N", node])
        self._until(lambda: self.call("sinfo", "-h", "-N", "-o", "%T").split() == ["idle"] * 2, "both nodes are idle")

    def _write_config(self, munge_socket: Path) -> None:
        host = socket.gethostname()
        ctld_port, *node_ports = free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} "
            f"CPUs={self.cores_per_node} RealMemory=2000 State=UNKNOWN"
            for node, port in zip(NODES, node_ports, strict=True)
        )
        text = _CONFIG.format(
            host=f"{host}(127.0.0.1)",
            ctld_port=ctld_port,
            socket=munge_socket,
            folder=self.folder,
            proctrack=self.proctrack,
            nodes=nodes,
        )
        (self.folder / "slurm.conf").write_text(text)

    def _daemon(self, name: str, command: list[str]) -> None:
        with (self.folder / f"{name}.out").open("wb") as out:
            process = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
            )
        self._daemons.append((name, process))

    def _until(self, done: "object", what: str) -> None:
        assert callable(done)
        deadline = time.monotonic() + START_TIMEOUT_S
        while not done():
            dead = next((name for name, process in self._daemons if process.poll() is not None), None)
            if dead is not None or time.monotonic() > deadline:
                logs = "\n".join(path.read_text(errors="replace")[-2000:] for path in self.folder.glob("*.out"))
                raise RuntimeError(f"the cluster did not start: {dead or 'timeout'}, waiting until {what}\n{logs}")
            time.sleep(0.2)

    def call(self, *command: str) -> str:
        """Run a Slurm client and return its output ("" while the controller does not answer)."""
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)
        return done.stdout

    def _stop(self) -> None:
        if any(name == "slurmctld" for name, _ in self._daemons):
            self._cancel_all()
        for _, process in reversed(self._daemons):
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_TIMEOUT_S)
            if process.poll() is None:
                process.kill()
                process.wait()
        self._daemons.clear()

    def _cancel_all(self) -> None:
        """End what is still running, so that no slurmstepd outlives its slurmd."""
        self.call("scancel", "--user", "root")
        deadline = time.monotonic() + STOP_TIMEOUT_S + 10
        while self.call("squeue", "-h") and time.monotonic() < deadline:
            time.sleep(0.3)


def free_ports(count: int) -> list[int]:
    """Return TCP ports of this host that nothing listens on, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def temporary_cluster() -> Iterator[SlurmCluster]:
    """A cluster in a folder of its own; a munge socket's path may not be long."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, SlurmCluster(Path(folder)) as cluster:
        yield cluster


def main() -> int:
    """Open a shell, or run the command given, with a cluster."""
    with temporary_cluster() as cluster:
        command = sys.argv[1:] or [os.environ.get("SHELL", "bash")]
        return subprocess.run(command, env=cluster.environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
