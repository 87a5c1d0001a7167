"""A rehearsal through Slurm's stand-in: `posttrain submit` as it is, then the queue's jobs one after the other.

The batch scripts are the real ones. A job runs as Slurm would run it: its shell gets USR1, and one that requeues itself
or loses its node (a rank is killed) starts again.
"""

import json
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from launch.follow import tail
from launch.ranks_end import TAIL_LINES
from launch.rehearse_acts import Act, Saboteur, wait_for
from launch.rehearse_slurm import JobQueue, QueuedJob, install
from launch.run import say
from training.config.slurm import Slurm
from training.progress import duration


def perform_jobs(
    submit: Sequence[str], environment: Mapping[str, str], folder: Path, slurm: Slurm, saboteur: Saboteur
) -> list[Act]:
    """Submit with the stand-in's commands in `folder`, run every job, and return what happened.

    The last act's code is 0 if every job completed, else that of the first that failed.
    """
    queue = JobQueue(folder)
    with_slurm = {**environment, "PATH": os.pathsep.join([str(install(folder)), environment["PATH"]])}
    (folder / "partitions.json").write_text(json.dumps((slurm.partition or "rehearsal").split(",")))
    started = time.monotonic()
    code = subprocess.run(submit, env=with_slurm, stdin=subprocess.DEVNULL, check=False).returncode
    acts = [Act(code, time.monotonic() - started, None)]
    failed = 0
    while (job := queue.next()) is not None:
        act = _run_job(queue, job, with_slurm, saboteur)
        acts.append(act)
        if act.code != 0 and act.interruption is None:
            failed = failed or act.code
    return [*acts, Act(code or failed, 0.0, None)]


def _run_job(queue: JobQueue, job: QueuedJob, environment: Mapping[str, str], saboteur: Saboteur) -> Act:
    queue.save(replace(job, state="RUNNING"))
    started = time.monotonic()
    output = Path(job.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    with output.open("ab") as log:
        shell = subprocess.Popen(
            ["bash", job.script],
            env={**environment, **_job_environment(job)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        code = wait_for(shell, saboteur)
    interruption = saboteur.outcome(code)
    again = interruption is not None or queue.job(job.id).state == "REQUEUED"
    state = "PENDING" if again else "COMPLETED" if code == 0 else "FAILED"
    queue.save(replace(job, state=state, restarts=job.restarts + again))
    seconds = time.monotonic() - started
    why = f" ({interruption.how}), back in the queue" if interruption is not None else ""
    say(f"job {job.id} {job.name}: {'exit code ' + str(code) if code else 'done'}{why}, {duration(seconds)}")
    if state == "FAILED":
        say("\n".join(f"  | {line}" for line in tail(output, TAIL_LINES)))
    return Act(code, seconds, interruption)


def _job_environment(job: QueuedJob) -> dict[str, str]:
    return {
        "SLURM_JOB_ID": job.id,
        "SLURM_JOB_NAME": job.name,
        "SLURM_JOB_NODELIST": ",".join(f"rehearsal-{node}" for node in range(job.nodes)),
        "SLURM_JOB_NUM_NODES": str(job.nodes),
        "SLURM_CPUS_PER_TASK": str(job.cpus),
        "SLURM_RESTART_COUNT": str(job.restarts),
    }
