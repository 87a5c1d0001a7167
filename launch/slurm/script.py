"""The text of a batch script: readable, quoted, free of secrets, the same whichever folder it is submitted from.

The script runs `posttrain run` on the job's first node and passes TERM and USR1 on to it; `posttrain run` starts the
ranks, on several nodes with srun (`launch.nodes`). A job that ends with 75 puts itself back into the queue; it has not
ended then, so what waits for it goes on waiting.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from data.home import from_home
from launch.slurm.jobs import Job
from training.config import Runtime
from training.config.slurm import Slurm
from training.exit_codes import PREEMPTED

MOST_RESTARTS_FROM_ZERO = 5
"""A stage without checkpoints that was stopped so often would hardly end the next time."""

_END_TIME = (
    'if [ -z "${SLURM_JOB_END_TIME:-}" ]; then  # Slurm before 23.02 does not say when the job must have ended\n'
    '    end=$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%e) && end=$(date -d "$end" +%s) &&\n'
    "        export SLURM_JOB_END_TIME=$end || true\n"
    "fi 2>/dev/null"
)


@dataclass(frozen=True)
class Member:
    """One run: its name, the overrides that make it, its run folder (absolute). Several are the tasks of an array."""

    name: str
    overrides: tuple[str, ...]
    run_dir: Path


@dataclass(frozen=True)
class Batch:
    """What the scripts of one submission share; every path is absolute. `logs` is where the jobs' output goes."""

    name: str
    config: Path
    members: tuple[Member, ...]
    runtime: Runtime
    slurm: Slurm
    work_dir: Path
    logs: Path
    past_gates: bool = False
    is_array: bool = False

    @property
    def ranks_per_node(self) -> int:
        """Ranks that one node starts."""
        return self.runtime.processes // self.runtime.nodes

    @property
    def cpus_per_node(self) -> int:
        """CPU cores a node gives: as asked, else one for each thread of each rank."""
        return self.slurm.cpus_per_task or self.ranks_per_node * (self.runtime.threads_per_process or 1)


def script_text(batch: Batch, job: Job) -> str:
    """Return the batch script of one job; its dependencies are not in it, since they are known when it is submitted."""
    shell = "#!/bin/bash -l" if batch.slurm.modules else "#!/bin/bash"  # a login shell knows the command `module`
    what = f"stage {job.stage}" if job.stage else "all stages"
    members = f", one array task for each of {len(batch.members)} runs" if batch.is_array else ""
    written = f"# {batch.name}: {what}{members}. Written by posttrain submit; it may be submitted by hand as well."
    parts = [
        "\n".join([shell, written, *(f"#SBATCH {option}" for option in _options(batch, job))]),
        _arrival(),
        "\n".join(["set -e", *_preparation(batch), "set +e"]),
        _array_member(batch) if batch.is_array else "",
        _run(batch, job),
        _leave(batch.slurm.max_requeues if job.resumes else min(MOST_RESTARTS_FROM_ZERO, batch.slurm.max_requeues)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _options(batch: Batch, job: Job) -> Iterator[str]:
    slurm = batch.slurm
    yield f"--job-name={quoted(f'{batch.name}.{job.name}')}"
    yield f"--output={quoted(output_pattern(batch, job))}"
    yield "--open-mode=append"
    if batch.is_array:
        limit = f"%{slurm.array_limit}" if slurm.array_limit else ""
        yield f"--array=0-{len(batch.members) - 1}{limit}"
    yield f"--time={slurm.time}"
    yield f"--nodes={batch.runtime.nodes}"
    yield "--ntasks-per-node=1"
    yield f"--cpus-per-task={batch.cpus_per_node}"
    for name in ("account", "partition", "qos", "gpus_per_node", "gres", "mem", "constraint"):
        value = getattr(slurm, name)
        if value is not None:
            yield f"--{name.replace('_', '-')}={quoted(str(value))}"
    yield from slurm.options
    yield "--requeue"
    yield f"--signal=B:USR1@{slurm.signal_before_end}"


def output_pattern(batch: Batch, job: Job) -> str:
    """Where a job's output goes, as sbatch writes it: %j and its like are the job's number, %% is a percent sign."""
    number = "%A_%a" if batch.is_array else "%j"
    return f"{batch.logs}/slurm-{job.name}-".replace("%", "%%") + f"{number}.out"


def quoted(text: str) -> str:
    """Return a value as #SBATCH lines take it: in double quotes where it is not one plain word."""
    if shlex.quote(text) == text:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _arrival() -> str:
    return (
        'echo "posttrain: job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, '
        'restart ${SLURM_RESTART_COUNT:-0}, $(date -u +%FT%TZ)"'
    )


def _preparation(batch: Batch) -> Iterator[str]:
    yield f"cd -- {shlex.quote(str(batch.work_dir))}"
    for module in batch.slurm.modules:
        yield f"module load {shlex.quote(module)}"
    for name, value in batch.slurm.environment.items():
        yield f"export {name}={shlex.quote(value)}"
    if batch.slurm.environment_file is not None:
        path = shlex.quote(str(from_home(batch.slurm.environment_file).absolute()))
        yield f"set -a; source {path}; set +a"
    yield from batch.slurm.setup
    yield "export SLURM_EXPORT_ENV=ALL SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK  # what srun would not take over"
    yield _END_TIME


def _array_member(batch: Batch) -> str:
    lines = ['case "$SLURM_ARRAY_TASK_ID" in']
    for index, member in enumerate(batch.members):
        overrides = shlex.join(member.overrides)
        lines.append(f"    {index}) run_dir={shlex.quote(str(member.run_dir))}; overrides=({overrides}) ;;")
    lines += ['    *) echo "posttrain: no run has the number $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;', "esac"]
    return "\n".join(lines)


def _run(batch: Batch, job: Job) -> str:
    if batch.is_array:
        overrides, run_dir = ['"${overrides[@]}"'], '"$run_dir"'
    else:
        member = batch.members[0]
        overrides, run_dir = [shlex.quote(text) for text in member.overrides], shlex.quote(str(member.run_dir))
    command = [shlex.quote(sys.executable), "-P", "-m", "launch", "run", shlex.quote(str(batch.config)), *overrides]
    command += ["--stage", job.stage] if job.stage else []
    command += ["--past-gates"] if batch.past_gates else []
    return (
        "# USR1 comes before the time limit, TERM at preemption and scancel: the ranks finish their step,\n"
        "# write a checkpoint and end, and posttrain ends with 75.\n"
        + " ".join([*command, "--run-dir", run_dir])
        + " &\n"
        "runner=$!\n"
        "trap 'kill -USR1 \"$runner\"' USR1\n"
        "trap 'kill -TERM \"$runner\"' TERM\n"
        'while kill -0 "$runner" 2>/dev/null; do wait "$runner"; done\n'
        'wait "$runner"\n'
        "code=$?"
    )


def _leave(max_requeues: int) -> str:
    """A job that is being cancelled or preempted is not RUNNING any more: Slurm has decided what becomes of it."""
    return f"""\
if [ "$code" -eq {PREEMPTED} ] && [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ]; then
    if [ "${{SLURM_RESTART_COUNT:-0}}" -lt {max_requeues} ]; then
        echo "posttrain: back into the queue, restart $((${{SLURM_RESTART_COUNT:-0}} + 1)) of at most {max_requeues}"
        scontrol requeue "$SLURM_JOB_ID"
    else
        echo "posttrain: restarted {max_requeues} times, which is the most; posttrain submit goes on from here"
    fi
fi
exit "$code\""""


def check_paths(paths: Sequence[Path]) -> None:
    """Refuse paths that no batch script can name."""
    for path in paths:
        if any(ord(character) < 32 or ord(character) == 127 for character in str(path)):
            raise UserError(f"{str(path)!r} holds a control character, which no batch script can name; rename it")
