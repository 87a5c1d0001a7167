"""`slurm.json` in a run folder: the jobs that were submitted for the run, so that they can be found and cancelled."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.record import read_json, write_json

SLURM_NAME = "slurm.json"
_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class SubmittedJob:
    """A job as submitted: its id (`<array id>_<task>` for a task of an array), name, stage, script and output."""

    id: str
    name: str
    stage: str | None
    script: str
    output: str
    after: tuple[str, ...] = ()


def read_submissions(run_dir: Path) -> list[dict[str, Any]]:
    """Return every submission of a run, the oldest first; none where nothing was submitted."""
    path = run_dir / SLURM_NAME
    if not path.is_file():
        return []
    fix = "move it away, and look for the run's jobs with squeue"
    content = read_json(path, fix)
    if not isinstance(content.get("submissions"), list):
        raise UserError(f"{path} holds no list of submissions; {fix}")
    return list(content["submissions"])


def submitted_jobs(run_dir: Path) -> list[SubmittedJob]:
    """Return every job that was ever submitted for a run, the oldest first."""
    jobs = [job for submission in read_submissions(run_dir) for job in submission["jobs"]]
    return [SubmittedJob(**{**job, "after": tuple(job["after"])}) for job in jobs]


def open_submission(run_dir: Path) -> None:
    """Begin a submission; its jobs are added one by one, so that none is in the queue and not written down."""
    submissions = read_submissions(run_dir)
    submissions.append({"submitted_at": datetime.now(UTC).isoformat(timespec="seconds"), "jobs": []})
    _write(run_dir, submissions)


def add_job(run_dir: Path, job: SubmittedJob) -> None:
    """Write down a job of the submission opened last."""
    submissions = read_submissions(run_dir)
    submissions[-1]["jobs"].append(asdict(job))
    _write(run_dir, submissions)


def _write(run_dir: Path, submissions: list[dict[str, Any]]) -> None:
    write_json(run_dir / SLURM_NAME, {"schema_version": _SCHEMA_VERSION, "submissions": submissions})
