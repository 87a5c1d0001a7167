"""`posttrain rehearse`: the whole pipeline on this machine in minutes, tiny, with one kill and resume.

Same YAML, stages, launcher and exit codes; overrides make it small (`training.rehearsal_overrides`). It runs on CPUs
and without network in `<runs_dir>/<name>-rehearsal`, a folder of its own that every rehearsal makes anew.
"""

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from launch.fork_server import VARIABLE, ForkServer, can_fork
from launch.lock import RunLock
from launch.rank_environment import runner_environment
from launch.ranks import run_ranks
from launch.rehearse_acts import How, Saboteur, perform
from launch.rehearse_jobs import perform_jobs
from launch.rehearse_table import rehearsal_text
from launch.run import say
from launch.signals import orderly_end
from training.config import Pipeline, load_pipeline
from training.plan import RunPlan, plan_run
from training.rehearsal_overrides import Replacement, gpu_replacements, rehearsal_overrides

PROCESSES = 2
INTERRUPTIONS: tuple[How, ...] = ("USR1", "KILL")
"""How the first training stages are interrupted, one after the other."""
STAND_INS_DIR = "stand-ins"


@dataclass(frozen=True)
class RehearseRequest:
    """What the user asked for; `processes` is the most ranks to start."""

    config_path: Path
    overrides: list[str] = field(default_factory=list)
    processes: int = PROCESSES
    debug: bool = False


@dataclass(frozen=True)
class Rehearsal:
    """A rehearsal about to be performed: the overridden pipeline, its plan, and what was replaced."""

    request: RehearseRequest
    pipeline: Pipeline
    plan: RunPlan
    replaced: list[Replacement]

    @property
    def overrides(self) -> list[str]:
        """The user's overrides, then ours."""
        return [*self.request.overrides, *overrides_of(self.replaced)]


def rehearse(request: RehearseRequest) -> int:
    """Rehearse a pipeline and return the exit code that the real run would have; UserErrors of its config travel."""
    started = time.monotonic()
    pipeline = load_pipeline(request.config_path, request.overrides)
    folder = new_folder(Path(pipeline.runtime.runs_dir) / f"{pipeline.name}-rehearsal")
    with orderly_end(), RunLock(folder / STAND_INS_DIR), _scratch() as scratch:
        environment = {**child_environment(), "TMPDIR": scratch}
        if not can_fork():
            return _rehearse(request, pipeline, folder, started, environment)
        if VARIABLE in os.environ:  # several rehearsals share one
            shared = {VARIABLE: os.environ[VARIABLE]}
            return _rehearse(request, pipeline, folder, started, {**environment, **shared})
        with ForkServer(environment) as server:
            return _rehearse(request, pipeline, folder, started, {**environment, **server.address})


def _scratch() -> "tempfile.TemporaryDirectory[str]":
    """Where what is killed leaves its temporary files: a rank of ours always is."""
    return tempfile.TemporaryDirectory(prefix="posttrain-", ignore_cleanup_errors=True)


def _rehearse(
    request: RehearseRequest, pipeline: Pipeline, folder: Path, started: float, environment: Mapping[str, str]
) -> int:
    say(f"rehearse: {pipeline.name} in {folder}: checking it at full size, making a tiny model of its architecture")
    code = _make_stand_ins(request, pipeline, folder / STAND_INS_DIR, environment)
    if code != 0:
        return code
    rehearsal = prepare(request, pipeline, folder)
    saboteur = Saboteur(rehearsal.plan, rehearsal.pipeline.runtime.processes, list(INTERRUPTIONS))
    slurm = rehearsal.pipeline.runtime.slurm
    if slurm is None:
        acts = perform(_command(rehearsal, "run"), environment, saboteur)
    else:
        acts = perform_jobs(
            _command(rehearsal, "submit"), environment, folder / STAND_INS_DIR / "slurm", slurm, saboteur
        )
    say(rehearsal_text(rehearsal.plan, rehearsal.replaced, acts, time.monotonic() - started))
    return acts[-1].code


def new_folder(folder: Path) -> Path:
    """Return an empty folder; an earlier rehearsal there goes, anything else is refused."""
    if folder.exists():
        if not (folder / STAND_INS_DIR).is_dir():
            raise UserError(f"{folder} exists and is no rehearsal; move it away, or choose another runtime.runs_dir")
        with RunLock(folder / STAND_INS_DIR):  # another rehearsal may be using it
            pass
        shutil.rmtree(folder)
    (folder / STAND_INS_DIR).mkdir(parents=True)
    return folder


def prepare(request: RehearseRequest, pipeline: Pipeline, folder: Path) -> Rehearsal:
    """Read the stand-ins and plan the pipeline with every override."""
    stand_ins_dir = folder / STAND_INS_DIR
    stand_ins = json.loads((stand_ins_dir / "stand_ins.json").read_text())
    replaced = [Replacement("runtime", f"name={json.dumps(folder.name)}"), *gpu_replacements(pipeline)]
    replaced += rehearsal_overrides(pipeline, stand_ins, stand_ins_dir, request.processes)
    small = load_pipeline(request.config_path, [*request.overrides, *overrides_of(replaced)])
    return Rehearsal(request, small, plan_run(small, folder), replaced)


def overrides_of(replaced: Sequence[Replacement]) -> list[str]:
    """The overrides of replacements that have one."""
    return [each.override for each in replaced if each.override]


def child_environment() -> dict[str, str]:
    """The environment of a child without GPU and network, in which our packages are found from any folder."""
    ours = {name: value for name, value in runner_environment(offline=True).items() if name != VARIABLE}
    return {**ours, "CUDA_VISIBLE_DEVICES": ""}


def _make_stand_ins(request: RehearseRequest, pipeline: Pipeline, folder: Path, environment: Mapping[str, str]) -> int:
    command = [sys.executable, "-m", "training.rehearsal", str(request.config_path), "--into", str(folder)]
    for override in [*request.overrides, *overrides_of(gpu_replacements(pipeline))]:
        command += ["--set", override]
    end = run_ranks(command, [{**environment, "OMP_NUM_THREADS": "1"}], lambda rank: folder / "log.txt")
    return end.code


def _command(rehearsal: Rehearsal, verb: str) -> list[str]:
    """`posttrain run` or `submit` with our overrides; gates are decided and passed."""
    command = [sys.executable, "-m", "launch", verb, str(rehearsal.request.config_path), *rehearsal.overrides]
    command += ["--run-dir", str(rehearsal.plan.run_dir), "--past-gates"]
    return [*command, "--debug"] if rehearsal.request.debug else command
