"""Slurm's commands for a rehearsal: `python -m launch.rehearse_slurm FOLDER sbatch ...` and its like.

They keep the queue as one JSON file a job and do what `posttrain submit`, the batch scripts and the runner ask of
Slurm, no more. `launch.rehearse_jobs` runs the jobs. Not for use beside a rehearsal: nothing is scheduled or limited.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from itertools import takewhile
from pathlib import Path

from training.record import write_json

PROGRAMS = ("sbatch", "squeue", "sinfo", "scontrol", "scancel", "srun")
PLENTY = 4096
"""Nodes, cores and GPUs of the pretended cluster: what a rehearsal asks for is not what limits it."""


@dataclass(frozen=True)
class QueuedJob:
    """A job of the stand-in's queue; `after` are ids that must complete first, `restarts` how often it was requeued."""

    id: str
    name: str
    script: str
    output: str
    nodes: int
    cpus: int
    after: list[str]
    state: str = "PENDING"
    restarts: int = 0


class JobQueue:
    """The queue as files in a folder, shared by the stand-in commands and the rehearsal."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._jobs = folder / "jobs"

    def jobs(self) -> list[QueuedJob]:
        """Return every job in the order of submission."""
        paths = sorted(self._jobs.glob("*.json"), key=lambda path: int(path.stem))
        return [QueuedJob(**json.loads(path.read_text())) for path in paths]

    def job(self, job_id: str) -> QueuedJob:
        """Return one job."""
        return QueuedJob(**json.loads((self._jobs / f"{job_id}.json").read_text()))

    def save(self, job: QueuedJob) -> None:
        """Write a job as it now stands."""
        self._jobs.mkdir(parents=True, exist_ok=True)
        write_json(self._jobs / f"{job.id}.json", asdict(job))

    def next(self) -> QueuedJob | None:
        """Return the first job that may start; jobs whose condition can no longer be met are cancelled."""
        states = {job.id: job.state for job in self.jobs()}
        for job in self.jobs():
            if job.state != "PENDING":
                continue
            before = [states.get(other, "COMPLETED") for other in job.after]
            if all(state == "COMPLETED" for state in before):
                return job
            if any(state in ("FAILED", "CANCELLED") for state in before):
                self.save(replace(job, state="CANCELLED"))
                states[job.id] = "CANCELLED"
        return None


def install(folder: Path) -> Path:
    """Write the commands into `<folder>/bin` and return that folder, to be put first on the PATH."""
    programs = folder / "bin"
    programs.mkdir(parents=True)
    root = Path(__file__).resolve().parent.parent
    for name in PROGRAMS:
        path = programs / name
        path.write_text(
            f'#!/bin/sh\nexport PYTHONPATH="{root}"\n'
            f'exec "{sys.executable}" -P -m launch.rehearse_slurm "{folder.absolute()}" {name} "$@"\n'
        )
        path.chmod(0o755)
    return programs


def sbatch(queue: JobQueue, arguments: list[str]) -> int:
    """Take a script into the queue, as Slurm does a copy of it, and print the job's number."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parsable", action="store_true")
    parser.add_argument("--dependency", default="")
    parser.add_argument("--kill-on-invalid-dep")
    parser.add_argument("script", type=Path)
    given = parser.parse_args(arguments)
    text = given.script.read_text()
    options = dict(
        line.removeprefix("#SBATCH --").partition("=")[::2]
        for line in text.splitlines()
        if line.startswith("#SBATCH --")
    )
    number = str(len(queue.jobs()) + 1)
    queue.folder.mkdir(parents=True, exist_ok=True)
    copy = queue.folder / f"job-{number}.sh"
    shutil.copyfile(given.script, copy)
    after = given.dependency.split(":")[1:]
    output = options["output"].strip('"').replace("%j", number).replace("%%", "%")
    queue.save(
        QueuedJob(
            number,
            options["job-name"].strip('"'),
            str(copy),
            output,
            int(options.get("nodes", "1")),
            int(options.get("cpus-per-task", "1")),
            after,
        )
    )
    print(number)
    return 0


def squeue(queue: JobQueue, arguments: list[str]) -> int:
    """Print the jobs in the format asked for: %i, %T, %r, %M, %N and %j are known."""
    asked = {name: value for name, _, value in (each.removeprefix("--").partition("=") for each in arguments)}
    for job in queue.jobs():
        if "jobs" in asked and job.id not in asked["jobs"].split(","):
            continue
        fields = {"%i": job.id, "%T": job.state, "%r": "None", "%M": "0:00", "%N": "", "%j": job.name}
        line = asked["format"]
        for field, value in fields.items():
            line = line.replace(field, value)
        print(line)
    return 0


def sinfo(queue: JobQueue, arguments: list[str]) -> int:
    """Print the partitions that the pipeline names, each up and large."""
    partitions = json.loads((queue.folder / "partitions.json").read_text())
    for place, name in enumerate(partitions):
        print(f"{name}{'' if place else '*'}|up|{PLENTY}|{PLENTY}|infinite|gpu:{PLENTY}")
    return 0


def scontrol(queue: JobQueue, arguments: list[str]) -> int:
    """Answer `requeue ID`, `show hostnames LIST` and `show node NAME`."""
    if arguments[0] == "requeue":
        queue.save(replace(queue.job(arguments[1]), state="REQUEUED"))
    elif arguments[:2] == ["show", "hostnames"]:
        print("\n".join(arguments[2].split(",")))
    elif arguments[:2] == ["show", "node"]:
        print(f"NodeName={arguments[2]} NodeAddr=127.0.0.1")
    else:
        print(f"scontrol {' '.join(arguments)}: the stand-in of a rehearsal does not know this", file=sys.stderr)
        return 1
    return 0


def scancel(queue: JobQueue, arguments: list[str]) -> int:
    """Cancel jobs that wait."""
    for job_id in arguments:
        queue.save(replace(queue.job(job_id), state="CANCELLED"))
    return 0


def srun(queue: JobQueue, arguments: list[str]) -> int:
    """Start one task a node, all on this host, pass signals on to them, and return the greatest exit code."""
    options = list(takewhile(lambda each: each.startswith("--"), arguments))
    command = arguments[len(options) :]
    nodes = next(int(each.partition("=")[2]) for each in options if each.startswith("--nodes="))
    tasks = [
        subprocess.Popen(
            command,
            env={**os.environ, "SLURM_STEP_ID": "0", "SLURM_NODEID": str(node), "SLURM_PROCID": str(node)},
        )
        for node in range(nodes)
    ]

    def pass_on(number: int, frame: object) -> None:
        for task in tasks:
            task.send_signal(number)

    for number in (signal.SIGUSR1, signal.SIGTERM):
        signal.signal(number, pass_on)
    return max(abs(task.wait()) for task in tasks)


_COMMANDS: dict[str, Callable[[JobQueue, list[str]], int]] = {
    "sbatch": sbatch,
    "squeue": squeue,
    "sinfo": sinfo,
    "scontrol": scontrol,
    "scancel": scancel,
    "srun": srun,
}

if __name__ == "__main__":
    sys.exit(_COMMANDS[sys.argv[2]](JobQueue(Path(sys.argv[1])), sys.argv[3:]))
