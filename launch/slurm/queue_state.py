"""Where submitted jobs stand, as squeue and, for those that have left it, sacct tell; and taking them back."""

import getpass
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from launch.slurm.client import ask, try_to_ask
from launch.slurm.record import SubmittedJob, submitted_jobs

ENDED = ("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "OUT_OF_MEMORY", "NODE_FAIL", "BOOT_FAIL", "DEADLINE")
GONE = "LEFT THE QUEUE"
"""Not a state of Slurm's: no accounting says how the job ended."""


@dataclass(frozen=True)
class JobState:
    """One job's state in Slurm's words; `reason` is why it waits, `nodes` where it runs, `elapsed` the time it ran."""

    state: str
    reason: str = ""
    elapsed: str = ""
    nodes: str = ""

    @property
    def alive(self) -> bool:
        """Whether it may still run or is running."""
        return self.state not in (*ENDED, GONE)


def job_states(jobs: Sequence[SubmittedJob]) -> dict[str, JobState]:
    """Return the state of each job by its id; raises UserError where squeue is missing or does not answer.

    A job of another name is not ours: a cluster that was set up anew counts from one again.
    """
    if not jobs:
        return {}
    names = {job.id: job.name for job in jobs}
    listed = ask(
        "squeue", "--noheader", "--array", "--states=all", f"--user={getpass.getuser()}", "--format=%i|%T|%r|%M|%N|%j"
    )
    states = {}
    for line in listed.splitlines():
        job, state, reason, elapsed, nodes, name = (part.strip() for part in line.split("|", 5))
        if names.get(job) == name:
            states[job] = JobState(state, "" if reason == "None" else reason, elapsed, nodes)
    missing = [job for job in names if job not in states]
    accounted = _accounted(missing) if missing else {}
    return {job: states.get(job) or accounted.get(job) or JobState(GONE) for job in names}


def _accounted(ids: Sequence[str]) -> dict[str, JobState]:
    listed = try_to_ask(
        "sacct", "-X", "--noheader", "--parsable2", f"--jobs={','.join(ids)}", "--format=JobID,State,Elapsed,NodeList"
    )
    states = {}
    for line in (listed or "").splitlines():
        job, state, elapsed, nodes = line.split("|", 3)
        states[job] = JobState(state.split()[0], "", elapsed, nodes)  # "CANCELLED by 1000"
    return states


def living_jobs(run_dir: Path) -> list[SubmittedJob]:
    """Return the jobs of a run that wait or run."""
    jobs = submitted_jobs(run_dir)
    states = job_states(jobs)
    return [job for job in jobs if states[job.id].alive]


def cancel(run_dir: Path) -> list[SubmittedJob]:
    """Cancel the jobs of a run that wait or run, and no others; returns them.

    The last of a chain goes first, so that none starts because the one before it has gone.
    """
    jobs = living_jobs(run_dir)
    if jobs:
        ask("scancel", *(job.id for job in reversed(jobs)))
    return jobs
