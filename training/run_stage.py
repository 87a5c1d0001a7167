"""One rank of one stage: `python -m training.run_stage CONFIG --stage NAME`, under any launcher.

The runner starts it for every rank; `deepspeed --module` and `accelerate launch -m` start it by hand. It plans the run
again, so it needs nothing but the config, and exits with 0, 1, 2, 4, 75 or 76 (`training.exit_codes`).
"""

import argparse
import contextlib
import functools
import os
import shutil
import sys
import traceback
import warnings
from pathlib import Path

from data.errors import UserError
from training.best_model import drop_best
from training.build_lock import release_own_locks
from training.checkpoint import discard_unfinished
from training.config import Pipeline, load_pipeline
from training.context import StageContext, StageResult
from training.determinism import make_deterministic
from training.engine import check_launcher_agrees, prepare_engine
from training.environment import available_cores
from training.exit_codes import FAILED, PREEMPTED, ROLLED_BACK, STOPPED, USER_ERROR
from training.finished_answers import FINISHED_ANSWERS
from training.finished_prompts import FINISHED_PROMPTS
from training.full_disk import is_full_disk
from training.pins import Pins, save_pins
from training.plan import RunPlan, plan_run
from training.record import read_record, write_record
from training.rows import ROWS_CACHE
from training.run_folder import RunFolder, run_path
from training.stacks import answer_with_stacks
from training.stage_record import stage_record
from training.stop_signals import StopSignals
from training.tracked_stage import tell_preempted, tell_result, tracked
from training.world import THREADS_VARIABLE, World, barrier, is_port_taken, leave, read_world

NEEDED_UNTIL_RECORDED = ("checkpoints", "merged_parent", ROWS_CACHE, FINISHED_PROMPTS, FINISHED_ANSWERS)


def parse(argv: list[str]) -> argparse.Namespace:
    """Read the command line; `--local_rank` may stand before CONFIG, as the deepspeed launcher puts it there."""
    parser = argparse.ArgumentParser(prog="python -m training.run_stage", description=__doc__)
    parser.add_argument("--local_rank", type=int, default=None, help="given by the deepspeed launcher; ignored")
    parser.add_argument("config", type=Path)
    parser.add_argument("--stage", default=None, help="name of the stage")
    parser.add_argument("--check", action="store_true", help="build the config objects of all stages and stop")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY.PATH=VALUE")
    parser.add_argument("--run-dir", type=Path, default=None)
    parser.add_argument("--debug", action="store_true", help="show tracebacks of user errors")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None, process_ends: bool = False) -> int:
    """Run one rank and return its exit code, the process's where it ends with that."""
    arguments = parse(sys.argv[1:] if argv is None else argv)
    context: StageContext | None = None
    stop = StopSignals()
    stop.listen()
    try:
        quiet_libraries()
        pipeline = load_pipeline(arguments.config, arguments.overrides)
        if arguments.check:
            from training.data_report import check_samples
            from training.stages import check_all

            check_all(pipeline)
            check_samples(pipeline, plan_run(pipeline, run_path(pipeline, arguments.run_dir)))
            return 0
        context = open_stage(pipeline, arguments)
        context.stop = stop
        stop.before_leaving = functools.partial(leave_at_once, context)
        answer_with_stacks(context.folder, context.world.rank)
        code = run_rank(context)
        context.state.finish("done" if code == 0 else "preempted")
        return code
    except Exception as error:
        return report_failure(error, context, arguments.debug)
    finally:
        stop.close(process_ends)
        if not arguments.check:
            leave()


def leave_at_once(context: StageContext, message: str) -> None:
    """What is left to do for a rank that a signal ends on the spot."""
    context.state.finish("preempted", message)
    release_own_locks()


def quiet_libraries() -> None:
    """No telemetry, and no progress bars inside our own lines."""
    warnings.filterwarnings("ignore", category=FutureWarning, module=r"(transformers|trl)\.")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")  # rollout_func is announced as experimental
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")


def open_stage(pipeline: Pipeline, arguments: argparse.Namespace) -> StageContext:
    """Plan the run, find the stage, read the launcher's world."""
    if arguments.stage is None:
        raise UserError("--stage is missing; name one of: base, " + ", ".join(s.name for s in pipeline.stages))
    run_dir = run_path(pipeline, arguments.run_dir)
    plan = plan_run(pipeline, run_dir)
    names = [planned.name for planned in plan.stages]
    if arguments.stage not in names:
        raise UserError(f"--stage {arguments.stage}: no such stage; choose one of {', '.join(names)}")
    planned = plan[arguments.stage]
    claim_folder(pipeline, plan, arguments)
    check_launcher_agrees(pipeline.runtime, dict(os.environ))
    prepare_engine(pipeline)
    world = World(0, 0, 1) if planned.name == "base" else read_world(pipeline.runtime.processes)
    return StageContext(pipeline, plan, planned, run_dir, world)


def claim_folder(pipeline: Pipeline, plan: RunPlan, arguments: argparse.Namespace) -> None:
    """Refuse another pipeline's run folder; where a stage is started by hand, write what the runner would have.

    Rank 0 alone does: another would meet a folder that rank 0 is just filling.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    folder = RunFolder(plan.run_dir)
    folder.check(pipeline.name)
    if not folder.resolved_path.is_file():
        folder.write_resolved(pipeline, arguments.config, arguments.overrides, plan.fingerprints, plan.folders)
        save_pins(plan.run_dir, plan.pins)


def run_rank(context: StageContext) -> int:
    """Run the stage unless its record is there already; rank 0 writes the record last."""
    if read_record(context.folder) is not None:
        context.say(f"done already: {context.folder}")
        return 0
    if context.planned.name == "base":
        run_base(context)
        return 0
    set_threads(context)
    if context.pipeline.runtime.deterministic:
        make_deterministic()
    ensure_parents(context)
    from training.stages import stage_runner

    with tracked(context):
        result = stage_runner(context.planned.kind)(context)
        if result.preempted:
            tell_preempted(context)
            return PREEMPTED
        record_stage(context, result)
        barrier(context.world)
    return 0


def record_stage(context: StageContext, result: StageResult) -> None:
    """Write the record, remove what the stage needed until then, and tell the tracker; every rank must call this."""
    from training.facts import ledger_facts

    ledger = ledger_facts(context)
    if context.world.is_main:
        write_record(context.folder, stage_record(context, result, ledger))
        for name in NEEDED_UNTIL_RECORDED:
            shutil.rmtree(context.folder / name, ignore_errors=True)
        drop_best(context.folder)
        tell_result(context)


def set_threads(context: StageContext) -> None:
    """Give each rank the threads of the config, else those its starter chose; several ranks share the cores."""
    import torch

    wanted = context.pipeline.runtime.threads_per_process
    if wanted is None and THREADS_VARIABLE in os.environ:
        wanted = int(os.environ[THREADS_VARIABLE])
    if wanted is None and context.world.size > 1:
        wanted = max(1, available_cores() // int(os.environ.get("LOCAL_WORLD_SIZE", context.world.size)))
    if wanted is not None:
        torch.set_num_threads(wanted)


def run_base(context: StageContext) -> None:
    """Materialise the base model and record it."""
    from training.base import describe_base, link_model, locate_model

    pins = Pins(context.plan.pins, context.pipeline.offline)
    source = locate_model(context.pipeline.model, pins)
    model = link_model(source, context.folder)
    facts = describe_base(model, context.pipeline.chat_template)
    result = StageResult(tokenizer_facts=facts, metrics={"source": context.pipeline.model})
    write_record(context.folder, stage_record(context, result, {"wall_s": 0.0, "timing_s": {}, "overlap_s": {}}))


def ensure_parents(context: StageContext) -> None:
    """Make the base if a stage is started by hand before it; every other parent must have its record."""
    if "base" in context.planned.parents and context.world.is_main and read_record(context.folder_of("base")) is None:
        base = StageContext(context.pipeline, context.plan, context.plan["base"], context.run_dir, World(0, 0, 1))
        run_base(base)
        base.state.finish("done")
    barrier(context.world)
    for name in context.planned.parents:
        context.record_of(name)


def report_failure(error: Exception, context: StageContext | None, debug: bool) -> int:
    """Print one message (a traceback for our own faults, or with --debug), note it in the state file, give the code."""
    from training.rewards.scoring import RewardErrors
    from training.stopped import RolledBack, Stopped

    code, outcome = FAILED, "failed"
    if isinstance(error, UserError):
        code, outcome = USER_ERROR, "user_error"
    elif isinstance(error, RewardErrors | Stopped):
        code, outcome = STOPPED, "stopped"
    elif isinstance(error, RolledBack):
        code, outcome = ROLLED_BACK, "rolled_back"
    message = str(error)
    if is_port_taken(error):
        code, outcome = USER_ERROR, "user_error"
        message = f"MASTER_PORT {os.environ.get('MASTER_PORT')} is taken on this host; choose another, or repeat"
    full = code == FAILED and is_full_disk(error, Path() if context is None else context.folder)
    if full:
        message = f"no space left on the device ({type(error).__name__}: {error}); nothing finished is lost"
        if context is not None and context.world.is_main:
            discard_unfinished(context.folder / "checkpoints")  # gives the room that this message needs
    if debug or (code == FAILED and not full):
        traceback.print_exception(error)
    else:
        print(message if code == ROLLED_BACK else f"error: {message}", file=sys.stderr)
    if context is not None:
        with contextlib.suppress(OSError):  # the state file may be what there is no room for
            context.state.finish(outcome, message)
    return code


if __name__ == "__main__":
    sys.exit(main(process_ends=True))
