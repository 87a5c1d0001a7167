"""`posttrain submit`: a run, or each run of an array, as batch jobs in Slurm's queue.

The pipeline file is copied beside the scripts, and the jobs read the copy: what was submitted is what runs. Every job
is written into the run folder's slurm.json the moment Slurm has it.
"""

import errno
import itertools
import shlex
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from launch.lock import RunLock
from launch.slurm.client import ask, require
from launch.slurm.cluster import check_cluster, check_environment_file
from launch.slurm.jobs import Job, stage_jobs, whole_job
from launch.slurm.queue_state import living_jobs
from launch.slurm.record import SubmittedJob, add_job, open_submission
from launch.slurm.script import Batch, Member, check_paths, script_text
from training.config import Pipeline
from training.pins import save_pins
from training.plan import RunPlan, plan_run
from training.record import write_json
from training.run_folder import RunFolder

CONFIG_COPY = "pipeline.yaml"
JOBS_NAME = "jobs.json"
_ADD = """\
runtime.slurm is missing, which says what the jobs ask for; for instance:
runtime:
  slurm: {time: "12:00:00", partition: gpu, gpus_per_node: 8, cpus_per_task: 64}"""


@dataclass(frozen=True)
class MemberRun:
    """A run to submit: its name in an array (else the pipeline's), pipeline, overrides and run folder."""

    name: str
    pipeline: Pipeline
    overrides: list[str]
    run_dir: Path


@dataclass(frozen=True)
class SubmitRequest:
    """What to submit. `folder` holds the scripts: the run folder, or the folder of an array's run folders."""

    name: str
    config_path: Path
    members: list[MemberRun]
    folder: Path
    is_array: bool = False
    one_job: bool = False
    past_gates: bool = False
    dry_run: bool = False


def submit(request: SubmitRequest) -> int:
    """Write the scripts and, unless it is a dry run, submit them; returns 0."""
    batch = _batch(request)
    try:
        scripts = _checked_scripts(request, batch)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise UserError(f"no space left for {request.folder} ({error}); nothing was submitted") from error
    if not scripts:
        print(f"posttrain: everything of {request.name} is done; there is nothing to submit")
    elif request.dry_run:
        _show(scripts, batch)
    else:
        _submit_all(batch, scripts)
    return 0


def _checked_scripts(request: SubmitRequest, batch: Batch) -> list[tuple[Job, Path]]:
    """Check what can be checked, then write the scripts; none where everything is done."""
    check_environment_file(batch.slurm)
    if not request.dry_run:
        require("sbatch")
        check_cluster(batch)
        for member in request.members:
            _refuse_if_queued(member.run_dir)
    jobs = _plan_and_write(request)
    return _write_scripts(batch, jobs, request.config_path) if jobs else []


def _batch(request: SubmitRequest) -> Batch:
    runtime = request.members[0].pipeline.runtime
    if runtime.slurm is None:
        raise UserError(_ADD)
    if any(member.pipeline.runtime != runtime for member in request.members):
        raise UserError("the tasks of an array are alike, so `runtime` cannot vary between its runs; submit them apart")
    folder = request.folder.absolute()
    scripts = _free_folder(folder / "slurm")
    members = tuple(Member(m.name, tuple(m.overrides), m.run_dir.absolute()) for m in request.members)
    check_paths([folder, Path.cwd(), *(member.run_dir for member in members)])
    return Batch(
        name=request.name,
        config=scripts / CONFIG_COPY,
        members=members,
        runtime=runtime,
        slurm=runtime.slurm,
        work_dir=Path.cwd(),
        logs=folder / "logs",
        past_gates=request.past_gates,
        is_array=request.is_array,
    )


def _free_folder(folder: Path) -> Path:
    """The first numbered folder from which nothing was submitted: the scripts of a job stay as Slurm got them."""
    numbers = (folder / f"{number:03d}" for number in itertools.count(1))
    return next(path for path in numbers if not (path / JOBS_NAME).exists())


def _refuse_if_queued(run_dir: Path) -> None:
    living = living_jobs(run_dir)
    if living:
        ids = ", ".join(job.id for job in living)
        raise UserError(
            f"{run_dir} has jobs in the queue: {ids}; wait for them (posttrain status), "
            f"or take them back with `posttrain cancel {shlex.quote(str(run_dir))}`"
        )


def _plan_and_write(request: SubmitRequest) -> list[Job]:
    """Plan every member under the lock of its run folder and write what `posttrain run` would have written there.

    The locks are given back before the first job is submitted, since it may start at once.
    """
    plans: list[RunPlan] = []
    with ExitStack() as locks:
        for member in request.members:
            folder = RunFolder(member.run_dir)
            folder.check(member.pipeline.name)
            if not request.dry_run:
                locks.enter_context(RunLock(folder.path))
            plans.append(plan_run(member.pipeline, folder.path))
        if any(plan.fingerprints.keys() != plans[0].fingerprints.keys() for plan in plans):
            raise UserError("the runs of an array have the same stages; submit those with others apart")
        if all(plan.done for plan in plans):
            return []
        jobs = [whole_job()] if request.one_job else stage_jobs(plans, request.past_gates)
        if not request.dry_run:
            for member, plan in zip(request.members, plans, strict=True):
                folder = RunFolder(member.run_dir)
                folder.write_resolved(
                    member.pipeline, request.config_path, member.overrides, plan.fingerprints, plan.folders
                )
                save_pins(folder.path, plan.pins)
    return jobs


def _write_scripts(batch: Batch, jobs: Sequence[Job], config: Path) -> list[tuple[Job, Path]]:
    """Write the copy of the pipeline file and one script a job; returns the scripts in the order of submission."""
    folder = batch.config.parent
    folder.mkdir(parents=True, exist_ok=True)
    batch.logs.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.sbatch"):  # of a dry run; what was submitted has a folder of its own
        old.unlink()
    shutil.copyfile(config, batch.config)
    scripts = []
    for number, job in enumerate(jobs, start=1):
        path = folder / f"{number:02d}-{job.name}.sbatch"
        path.write_text(script_text(batch, job), encoding="utf-8")
        path.chmod(0o755)
        scripts.append((job, path))
    return scripts


def _show(scripts: list[tuple[Job, Path]], batch: Batch) -> None:
    """Say what would be submitted and how."""
    for job, path in scripts:
        after = (
            f"  (after {', '.join(job.after)} {'of the same number' if batch.is_array else ''})" if job.after else ""
        )
        print(f"{path}{after.replace(' )', ')')}")
    print(f"posttrain: {len(scripts)} scripts written, nothing submitted")


def _submit_all(batch: Batch, scripts: list[tuple[Job, Path]]) -> None:
    """Hand every script to sbatch; if one is refused, those before it are taken back."""
    ids: dict[str, str] = {}
    for member in batch.members:
        open_submission(member.run_dir)
    try:
        for job, path in scripts:
            ids[job.name] = _sbatch(batch, job, path, ids)
            write_json(path.parent / JOBS_NAME, ids)
            for index, member in enumerate(batch.members):
                add_job(member.run_dir, _submitted(batch, job, path, ids, index))
            waits = f" after {', '.join(ids[name] for name in job.after)}" if job.after else ""
            print(f"posttrain: job {ids[job.name]} {job.name}{waits}", flush=True)
    except UserError:
        if ids:
            ask("scancel", *reversed(ids.values()))
        raise
    where = shlex.quote(str(batch.logs.parent))
    print(f"posttrain: {len(ids)} jobs submitted, output in {batch.logs}; `posttrain status {where}` shows the queue")


def _sbatch(batch: Batch, job: Job, path: Path, ids: dict[str, str]) -> str:
    """Submit one script and return its id. A job whose condition can no longer be met is removed, not kept for ever."""
    options = ["--parsable"]
    if job.after:
        condition = "aftercorr" if batch.is_array else "afterok"
        options.append(f"--dependency={':'.join([condition, *(ids[name] for name in job.after)])}")
        options.append("--kill-on-invalid-dep=yes")
    return ask("sbatch", *options, str(path)).strip().split(";")[0]


def _submitted(batch: Batch, job: Job, path: Path, ids: dict[str, str], index: int) -> SubmittedJob:
    task = f"_{index}" if batch.is_array else ""
    job_id = f"{ids[job.name]}{task}"
    return SubmittedJob(
        job_id,
        f"{batch.name}.{job.name}",
        job.stage,
        str(path),
        str(batch.logs / f"slurm-{job.name}-{job_id}.out"),
        tuple(f"{ids[name]}{task}" for name in job.after),
    )
