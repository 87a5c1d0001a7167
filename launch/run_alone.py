"""`posttrain run --stage NAME`: one stage of a pipeline, for instance as a Slurm job beside those of other stages.

Holds the lock of the stage, not of the run folder. Whatever the stage starts from must have finished, except the base,
which the first to need it makes; gates that earlier evaluations have decided hold as in a whole run.
"""

import time
from collections.abc import Callable

from data.errors import UserError
from launch.lock import RunLock
from launch.outlet import outlive_reader
from launch.ranks_end import RanksEnd
from launch.room import require_room
from launch.run import (
    RunRequest,
    check_configs,
    check_whole,
    closing,
    passes_gate,
    ranks_in_words,
    run_one,
    say,
    show_results,
    start_ranks,
    write_down,
)
from launch.slots import require_hosts
from training.config import Pipeline, load_pipeline
from training.exit_codes import GATE_NOT_MET
from training.plan import BASE, PlannedStage, RunPlan, plan_run
from training.progress import duration
from training.record import read_record
from training.run_folder import RunFolder, run_path

LOCK_WAIT_S = 30.0
"""A requeued job may start while the ranks of its former start are ending."""
BASE_WAIT_S = 3600.0
"""How long another job may take to fetch or convert the base model."""


def run_alone(request: RunRequest, name: str) -> int:
    """Run one stage and return its exit code, 3 where a gate on the way or its own is not met."""
    started = time.monotonic()
    outlive_reader()
    pipeline = load_pipeline(request.config_path, request.overrides)
    require_hosts(pipeline.runtime)
    folder = RunFolder(run_path(pipeline, request.run_dir))
    folder.check(pipeline.name)
    names = [BASE, *(stage.name for stage in pipeline.stages)]
    if name not in names:
        raise UserError(f"--stage {name}: no such stage; choose one of {', '.join(names)}")
    with RunLock(folder.path, name, LOCK_WAIT_S) as lock:
        plan = plan_run(pipeline, folder.path)
        require_room(pipeline, folder.path, [plan[name]])
        _write_files(request, pipeline, folder, plan)
        say(f"posttrain: {name} of {pipeline.name} in {folder.path}, {ranks_in_words(pipeline.runtime)}")
        code = _run(request, pipeline, folder, lock, plan)
        if code in (0, GATE_NOT_MET):
            show_results(folder)
    ended = f"{name} is done." if code == 0 else closing(code, folder)
    say(f"total {duration(time.monotonic() - started)}. {ended}")
    return code


def _write_files(request: RunRequest, pipeline: Pipeline, folder: RunFolder, plan: RunPlan) -> None:
    """Write what the run folder says of the pipeline, unless `posttrain submit` or another job has."""
    if (folder.read_resolved() or {}).get("fingerprints") != plan.fingerprints:
        write_down(request, pipeline, folder, plan)


def _run(request: RunRequest, pipeline: Pipeline, folder: RunFolder, lock: RunLock, plan: RunPlan) -> int:
    assert request.stage is not None
    stage = plan[request.stage]
    number = plan.stages.index(stage) + 1
    label = f"[{number}/{len(plan.stages)}] {stage.name}"
    say(f"{label}  {stage.reason}  (fingerprint {stage.fingerprint[:8]})")
    if not request.past_gates and not _gates_before(plan, stage):
        return GATE_NOT_MET
    if stage.state == "done":
        check_whole(stage)
    else:
        code = check_configs(request, pipeline, folder, lock)
        if code == 0 and stage.name != BASE:
            code = _make_base(plan, folder, lambda base, lock: start_ranks(request, pipeline, folder, lock, base))
        if code == 0:
            _require_parents(plan, stage)
            code = run_one(plan, stage, label, lambda stage: start_ranks(request, pipeline, folder, lock, stage))
        if code != 0:
            return code
    return 0 if passes_gate(plan, stage, label) or request.past_gates else GATE_NOT_MET


def _gates_before(plan: RunPlan, stage: PlannedStage) -> bool:
    """Whether every gate is met that an earlier evaluation, if it has finished, decides."""
    earlier = plan.stages[: plan.stages.index(stage)]
    return all(passes_gate(plan, each, each.name) for each in earlier if read_record(each.folder) is not None)


def _make_base(plan: RunPlan, folder: RunFolder, start: Callable[[PlannedStage, RunLock], RanksEnd]) -> int:
    """Make the base unless it is there; of several jobs that need it at once, the others wait for the first."""
    base = plan[BASE]
    if read_record(base.folder) is not None:
        return 0
    with RunLock(folder.path, BASE, BASE_WAIT_S) as lock:
        if read_record(base.folder) is not None:
            return 0
        return run_one(plan, base, f"[1/{len(plan.stages)}] {BASE}", lambda stage: start(stage, lock))


def _require_parents(plan: RunPlan, stage: PlannedStage) -> None:
    missing = [name for name in stage.parents if read_record(plan[name].folder) is None]
    if missing:
        raise UserError(f"--stage {stage.name} starts from {missing[0]}, which has not finished; run that one first")
