"""The ranks of a stage over the nodes of a Slurm job: one srun step, in which `launch.node` starts each node's ranks.

The runner stays in the job's script, on the first node. It and the nodes speak through files in the run's `logs/`
folder, which all nodes see: the step's output, and how each node's ranks ended.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from launch.follow import LogFollower, tail
from launch.ranks import ended_with_us
from launch.ranks_end import TAIL_LINES, Halt, RanksEnd, read_end, together
from launch.rendezvous import Rendezvous
from launch.signals import SignalInbox
from training.config import Runtime
from training.exit_codes import FAILED, PREEMPTED
from training.walltime import END_TIME_VARIABLE
from training.world import LATE_FILE_S

POLL_S = 0.2


def end_path(logs: Path, label: str, node: int) -> Path:
    """Where a node says how its ranks ended; `label` is `<stage>-<fp8>`."""
    return logs / f"{label}.node{node}.json"


def srun_command(runtime: Runtime, outer: Mapping[str, str] = os.environ) -> list[str]:
    """One task a node with all the cores the job has there, ended by us and not by srun when one of them fails."""
    command = ["srun", f"--nodes={runtime.nodes}", f"--ntasks={runtime.nodes}", "--ntasks-per-node=1"]
    command += ["--kill-on-bad-exit=0", "--wait=0", "--cpu-bind=none"]
    cores = cores_per_node(outer.get("SLURM_JOB_CPUS_PER_NODE", ""))
    return [*command, f"--cpus-per-task={cores}"] if cores else command


def cores_per_node(text: str) -> int | None:
    """Return the fewest cores of a node from Slurm's "16(x2),8"; None for an empty text."""
    counts = [int(part.split("(")[0]) for part in text.split(",") if part]
    return min(counts, default=None)


def run_on_nodes(
    command: Sequence[str],
    runtime: Runtime,
    rendezvous: Rendezvous,
    logs: Path,
    label: str,
    end_time: float | None = None,
    look: Callable[[], None] = lambda: None,
) -> RanksEnd:
    """Run `command` (a `launch.node`) once on every node and wait for all; rank 0's output is copied to ours.

    `look` is called several times a second meanwhile.

    A first TERM, USR1 or INT is passed on as USR1, after which ranks checkpoint: srun hands that to its tasks, while a
    TERM makes it end them. The second is the TERM.
    """
    logs.mkdir(parents=True, exist_ok=True)
    for node in range(runtime.nodes):
        end_path(logs, label, node).unlink(missing_ok=True)
    step_log = logs / f"{label}.srun.log"
    step_log.touch()
    environment = {**os.environ, "MASTER_ADDR": rendezvous.address, "MASTER_PORT": str(rendezvous.port)}
    if end_time is not None:
        environment[END_TIME_VARIABLE] = str(end_time)
    follower = LogFollower(step_log)
    with SignalInbox() as inbox, step_log.open("ab") as log, follower:
        step = subprocess.Popen(
            [*srun_command(runtime), *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=ended_with_us(signal.SIGUSR1),
        )
        try:
            while step.poll() is None:
                _pass_on(step, inbox, end_time)
                follower.copy(sys.stdout)
                look()
                time.sleep(POLL_S)
        finally:
            if step.poll() is None:
                step.terminate()
                step.wait()
        follower.copy(sys.stdout)
    return _collect(runtime, logs, label, step.returncode, inbox.received, step_log)


def _pass_on(step: "subprocess.Popen[bytes]", inbox: SignalInbox, end_time: float | None) -> None:
    if end_time is not None and time.time() >= end_time and not inbox.received:
        print("stopping: the run's time is over", flush=True)
        inbox.note(signal.SIGTERM)
    for _ in inbox.take():
        if len(inbox.received) == 1:
            print("stopping: the step is finished and a checkpoint written; a second signal kills", flush=True)
            step.send_signal(signal.SIGUSR1)
        else:
            step.terminate()


def _collect(
    runtime: Runtime, logs: Path, label: str, code: int, signals: list[signal.Signals], step_log: Path
) -> RanksEnd:
    """Join what the nodes wrote; a node that wrote nothing was lost, or never reached."""
    nodes = range(runtime.nodes)
    deadline = time.monotonic() + (LATE_FILE_S if code == 0 else LATE_FILE_S / 10)
    while any(read_end(end_path(logs, label, node)) is None for node in nodes) and time.monotonic() < deadline:
        time.sleep(POLL_S)
    ends = {node: read_end(end_path(logs, label, node)) for node in nodes}
    end = together([found for found in ends.values() if found is not None], signals)
    silent = [str(node) for node, found in ends.items() if found is None]
    if not silent or end.failed is not None:
        return end
    lines = "".join(f"  | {line}\n" for line in tail(step_log, TAIL_LINES))
    message = f"node {', '.join(silent)} of {runtime.nodes} did not say how its ranks ended; srun left with exit code "
    message += f"{code}; the end of {step_log}:\n{lines.rstrip()}"
    return RanksEnd(end.codes, None, signals, Halt(PREEMPTED if signals else FAILED, message))
