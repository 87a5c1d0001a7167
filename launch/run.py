"""`posttrain run`: one process that takes a pipeline from its YAML to its report, stage by stage.

Holds the lock of the run folder, skips what has a record, starts the ranks of what has not, decides gates, and stops at
the first stage that does not end well. It never imports torch: checks and stages are processes of their own.
"""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from data.errors import UserError
from launch.gate import decide_gate, gate_of
from launch.lock import RunLock
from launch.node import StageRanks, node_command, run_node
from launch.nodes import run_on_nodes
from launch.outlet import outlive_reader
from launch.rank_environment import rank_environments, stage_command
from launch.ranks import run_ranks
from launch.ranks_end import RanksEnd, failure_text
from launch.rendezvous import slurm_rendezvous
from launch.room import require_room
from launch.screen import live_board
from launch.slots import require_hosts
from launch.slurm.container import container_of, inside, one_task_inside
from training.config import Pipeline, Runtime, load_pipeline
from training.exit_codes import FAILED, GATE_NOT_MET, INTERRUPTED, PREEMPTED, ROLLED_BACK, STOPPED
from training.interventions import identity_of
from training.pins import save_pins
from training.plan import BASE, PlannedStage, RunPlan, plan_run
from training.progress import duration
from training.record import missing_files, read_record
from training.run_folder import REPORT_NAME, RunFolder, run_path
from training.walltime import end_time


@dataclass(frozen=True)
class RunRequest:
    """What the user asked for; `stage` runs that stage alone (`launch.run_alone`)."""

    config_path: Path
    overrides: list[str] = field(default_factory=list)
    run_dir: Path | None = None
    past_gates: bool = False
    debug: bool = False
    stage: str | None = None
    started: float = field(default_factory=time.time)


def run(request: RunRequest) -> int:
    """Run a pipeline and return its exit code (DESIGN: 0, 1, 2 by UserError, 3, 4, 75; 130 after Ctrl-C)."""
    started = time.monotonic()
    outlive_reader()
    pipeline = load_pipeline(request.config_path, request.overrides)
    require_hosts(pipeline.runtime)
    folder = RunFolder(run_path(pipeline, request.run_dir))
    folder.check(pipeline.name)
    with RunLock(folder.path) as lock:
        plan = plan_run(pipeline, folder.path)
        require_room(pipeline, folder.path, plan.stages)
        write_down(request, pipeline, folder, plan)
        say(f"posttrain: {pipeline.name} in {folder.path}, {ranks_in_words(pipeline.runtime)}")
        code = 0 if plan.done else check_configs(request, pipeline, folder, lock)
        if code == 0:
            with live_board(folder) as look:
                code = run_stages(
                    plan,
                    lambda stage: start_ranks(request, pipeline, folder, lock, stage, look),
                    request.past_gates,
                    lambda: write_down(request, pipeline, folder, plan_run(pipeline, folder.path)),
                )
        if code in (0, GATE_NOT_MET):
            show_results(folder)
    say(f"total {duration(time.monotonic() - started)}. {closing(code, folder)}")
    return code


def write_down(request: RunRequest, pipeline: Pipeline, folder: RunFolder, plan: RunPlan) -> RunPlan:
    """Write what the run will do into its folder; returns the plan."""
    folder.write_resolved(pipeline, request.config_path, request.overrides, plan.fingerprints, plan.folders)
    save_pins(folder.path, plan.pins)
    return plan


def run_stages(
    plan: RunPlan,
    start: Callable[[PlannedStage], RanksEnd],
    past_gates: bool,
    replan: Callable[[], RunPlan] | None = None,
) -> int:
    """Run what has no record, in order, and decide the gates of what has; returns the exit code of the whole.

    `replan` plans anew after a stage in which a detector intervened: its children have other fingerprints then.
    """
    for number in range(1, len(plan.stages) + 1):
        stage = plan.stages[number - 1]
        label = f"[{number}/{len(plan.stages)}] {stage.name}"
        say(f"{label}  {stage.reason}  (fingerprint {stage.fingerprint[:8]})")
        if stage.state == "done":
            check_whole(stage)
        else:
            code = run_one(plan, stage, label, start)
            if code != 0:
                return code
            if replan is not None and identity_of(read_record(stage.folder)):
                plan = replan()
        if not passes_gate(plan, stage, label) and not past_gates:
            return GATE_NOT_MET
    return 0


def run_one(plan: RunPlan, stage: PlannedStage, label: str, start: Callable[[PlannedStage], RanksEnd]) -> int:
    """Run a stage whose parents have finished; returns its exit code."""
    for parent in stage.parents:
        check_whole(plan[parent])
    started = time.monotonic()
    end = start(stage)
    while end.code == ROLLED_BACK:  # the stage bounds how often (health.max_rollbacks)
        say(f"{label}  starting again from its last good checkpoint")
        end = start(stage)
    spent = duration(time.monotonic() - started)
    if end.code != 0:
        text = failure_text(end, stage.name)
        if text is not None:
            say(text)
        finished = " (the stage itself is finished)" if read_record(stage.folder) is not None else ""
        say(f"{label}  {_ended(end.code)} after {spent}{finished}")
        return end.code
    if read_record(stage.folder) is None:
        say(f"{label}  ended without a record in {stage.folder} after {spent}: this is a bug of posttrain")
        return FAILED
    say(f"{label}  done in {spent}")
    return 0


def check_whole(stage: PlannedStage) -> None:
    """Refuse an artifact with files missing."""
    record = read_record(stage.folder)
    missing = [] if record is None else missing_files(stage.folder, record)
    if missing:
        raise UserError(
            f"{stage.folder} is recorded as done, but its {missing[0]} is missing; "
            "restore the file, or remove that folder to redo the stage"
        )


def passes_gate(plan: RunPlan, stage: PlannedStage, label: str) -> bool:
    """Decide the gate that a finished evaluation decides, if there is one, and say how."""
    gate = gate_of(plan, stage)
    if gate is None:
        return True
    result = decide_gate(plan, stage, gate)
    say(f"{label}  gate of {stage.parents[0]}: {'met' if result.passed else 'NOT met'}: {result.reason}")
    return result.passed


def check_configs(request: RunRequest, pipeline: Pipeline, folder: RunFolder, lock: RunLock) -> int:
    """Let a process of its own build the real configs of all stages, so that stage 5 cannot fail on a typo at night."""
    say("checking the configs of all stages")
    log = folder.path / "logs" / ("check.log" if request.stage is None else f"check-{request.stage}.log")
    command = stage_command(request.config_path, ["--check"], request.overrides, folder.path, request.debug)
    command = one_task_inside(container_of(pipeline.runtime), command, request.config_path, folder.path)
    environment = rank_environments(Runtime(threads_per_process=1), pipeline.offline)
    end = run_ranks(command, environment, lambda rank: log, [lock.fileno])
    text = failure_text(end, "check")
    if text is not None:
        say(text)
    return end.code


def start_ranks(
    request: RunRequest,
    pipeline: Pipeline,
    folder: RunFolder,
    lock: RunLock,
    stage: PlannedStage,
    look: Callable[[], None] = lambda: None,
) -> RanksEnd:
    """Start the stage's ranks, on this host or on the nodes of a Slurm job; `look` is called while they run."""
    command = stage_command(request.config_path, ["--stage", stage.name], request.overrides, folder.path, request.debug)
    # the base is copied, not trained: one process, which may download for as long as it takes
    runtime = Runtime(stall_limit=None) if stage.name == BASE else pipeline.runtime
    container = container_of(pipeline.runtime)
    if stage.name == BASE:
        command = one_task_inside(container, command, request.config_path, folder.path)
    ranks = StageRanks(command, runtime, pipeline.offline, folder.path, stage)
    end = end_time(pipeline.runtime.walltime, request.started, os.environ)
    if end is not None and time.time() >= end:
        say("the run's time is over")
        return RanksEnd({}, signals=[signal.SIGTERM])
    if runtime.nodes == 1 and (container is None or stage.name == BASE):
        return run_node(ranks, inherit=[lock.fileno], end_time=end, look=look)
    step = node_command(command)
    if container is not None:
        step = inside(container, step, request.config_path, folder.path)
    return run_on_nodes(step, runtime, slurm_rendezvous(runtime), ranks.logs, ranks.label, end, look)


def show_results(folder: RunFolder) -> None:
    """Print the table of results, write the report and the cards of the models."""
    from training.model_card import write_cards
    from training.report import write_report
    from training.summary import print_table

    print_table(folder.path)
    write_report(folder.path)
    for card in write_cards(folder.path):
        if card.reason is not None:
            say(f"the model card of {card.stage} is left as it is: {card.reason}")


def _ended(code: int) -> str:
    return {PREEMPTED: "preempted", INTERRUPTED: "interrupted", STOPPED: "stopped by a detector"}.get(code, "failed")


def closing(code: int, folder: RunFolder) -> str:
    """Return the last sentence of a run."""
    if code == 0:
        return f"Everything is done. Report: {folder.path / REPORT_NAME}"
    if code == GATE_NOT_MET:
        return f"A gate was not met; `--past-gates` goes on all the same. Report: {folder.path / REPORT_NAME}"
    if code in (PREEMPTED, INTERRUPTED):
        return "Repeat the command to go on; finished stages are kept."
    return f"Logs: {folder.path / 'logs'}. After the fix, repeat the command; finished stages are kept."


def ranks_in_words(runtime: Runtime) -> str:
    """Return for example "2 ranks, ZeRO-2"."""
    ranks = "1 rank" if runtime.processes == 1 else f"{runtime.processes} ranks"
    if runtime.nodes > 1:
        ranks += f" on {runtime.nodes} nodes"
    return f"{ranks}, ZeRO-{runtime.zero_stage}" if runtime.zero_stage else ranks


def say(text: str) -> None:
    """Print one line of the runner."""
    print(text, flush=True)
