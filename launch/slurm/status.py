"""What `posttrain status` says about the jobs of a run: those of the last submission, and older ones still alive."""

from pathlib import Path

from data.errors import UserError
from launch.slurm.queue_state import JobState, job_states
from launch.slurm.record import SubmittedJob, read_submissions, submitted_jobs
from launch.words import table


def jobs_text(run_dir: Path) -> str | None:
    """Return the table of jobs, or None for a run that was never submitted. Without squeue it says so."""
    submissions = read_submissions(run_dir)
    if not submissions:
        return None
    jobs = submitted_jobs(run_dir)
    newest = {job["id"] for job in submissions[-1]["jobs"]}
    when = submissions[-1]["submitted_at"]
    try:
        states = job_states(jobs)
    except UserError as error:
        return f"jobs: {len(newest)} submitted at {when}; their state is not known here: {error}"
    shown = [job for job in jobs if job.id in newest or states[job.id].alive]
    rows = [[job.id, job.stage or "all stages", *_state(job, states[job.id])] for job in shown]
    return f"jobs submitted at {when}:\n" + table(["job", "stage", "state", "where", "output"], rows)


def _state(job: SubmittedJob, state: JobState) -> list[str]:
    """State with the reason of waiting or the time run, nodes, and the output once there is one."""
    detail = state.reason if state.state == "PENDING" else state.elapsed
    after = f" of {', '.join(job.after)}" if detail == "Dependency" and job.after else ""
    words = f"{state.state.lower()} ({detail}{after})" if detail else state.state.lower()
    return [words, state.nodes, job.output if Path(job.output).exists() else ""]
