"""The command line: arguments in, an exit code out. Answers `--help` and `plan` without importing torch or trl.

A `UserError` becomes one message and exit code 2, a full disk one message and exit code 1; with `--debug` the traceback
is shown as well. Everything else travels.
"""

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from launch.shadow import shadow_message

USER_ERROR = 2
FAILED = 1
INTERRUPTED = 130
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_NO_ACCESS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR)

DESCRIPTION = (
    "Post-training of language models from one YAML file: SFT, preference pairs, DPO, GRPO, evaluation, report."
)
EXIT_CODES = (
    "Exit codes: 0 done, 1 failed, 2 you can fix it, 3 a gate was not met, 4 a detector stopped the run, "
    "75 preempted and checkpointed (repeat the command), 130 interrupted."
)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = argparse.ArgumentParser(prog="posttrain", description=DESCRIPTION, epilog=EXIT_CODES)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a pipeline; finished stages are skipped, interrupted ones resumed")
    _add_config(run)
    run.add_argument("--past-gates", action="store_true", help="go on when a gate is not met")

    plan = commands.add_parser("plan", help="show the stages, what would be skipped and why, batch sizes in words")
    _add_config(plan)

    status = commands.add_parser("status", help="show the folders of a run, which are in use, and their results")
    status.add_argument("run", help="a run folder, the name of one under runs/, or a CONFIG")

    lineage = commands.add_parser("lineage", help="prove where an artifact comes from, back to the base and the data")
    lineage.add_argument("path", type=Path, help="a stage folder, its model/ or its record.json")

    commands.add_parser("schema", help="print the JSON Schema of pipeline files, for editors")

    report = commands.add_parser("report", help="write report.html of a run anew and print its table")
    report.add_argument("run", help="a run folder, the name of one under runs/, or a CONFIG")

    clean = commands.add_parser("clean", help="list stage folders that CONFIG does not use; --yes removes them")
    _add_config(clean)
    clean.add_argument("--yes", action="store_true", help="remove them")

    for command in (run, plan, status, lineage, report, clean):
        command.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", type=Path, metavar="CONFIG", help="the pipeline's YAML file")
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="replace values of the YAML")
    parser.add_argument("--run-dir", type=Path, help="the run folder (default: <runtime.runs_dir>/<name>)")


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; overrides may stand on both sides of options, which argparse alone refuses."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    misplaced = [text for text in rest if text.startswith("-") or "=" not in text]
    if misplaced or (rest and not hasattr(arguments, "overrides")):
        parser.error(f"unrecognized arguments: {' '.join(misplaced or rest)}")
    for text in getattr(arguments, "overrides", []):
        if "=" not in text:
            parser.error(f"{text} is no override; write key.path=value")
    if rest:
        arguments.overrides += rest
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from data.errors import UserError

    arguments = parse(argv)
    debug = getattr(arguments, "debug", False)
    try:
        return COMMANDS[arguments.command](arguments)
    except UserError as error:
        return _report(str(error), USER_ERROR, debug)
    except OSError as error:
        if error.errno in _FULL_DISK:
            return _report(f"the disk is full ({error}); finished stages are kept", FAILED, debug)
        if error.errno in _NO_ACCESS:
            return _report(str(error), USER_ERROR, debug)
        raise
    except KeyboardInterrupt:
        return _report("interrupted; repeat the command to go on, finished stages are kept", INTERRUPTED, debug)


def _report(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"posttrain: {message}", file=sys.stderr, flush=True)
    return code


def _run(arguments: argparse.Namespace) -> int:
    from launch.run import RunRequest, run

    request = RunRequest(
        arguments.config, arguments.overrides, arguments.run_dir, arguments.past_gates, arguments.debug
    )
    return run(request)


def _plan(arguments: argparse.Namespace) -> int:
    from launch.plan_text import plan_text
    from training.config import load_pipeline
    from training.plan import plan_run
    from training.run_folder import RunFolder, run_path

    pipeline = load_pipeline(arguments.config, arguments.overrides)
    folder = RunFolder(run_path(pipeline, arguments.run_dir))
    folder.check(pipeline.name)
    print(plan_text(pipeline, plan_run(pipeline, folder.path)))
    return 0


def _status(arguments: argparse.Namespace) -> int:
    from launch.find_run import find_run
    from launch.status import status_text

    print(status_text(find_run(arguments.run)))
    return 0


def _lineage(arguments: argparse.Namespace) -> int:
    from launch.lineage import prove

    proof = prove(arguments.path)
    print(proof.text)
    return FAILED if proof.problems else 0


def _schema(arguments: argparse.Namespace) -> int:
    from training.config.json_schema import json_schema

    print(json.dumps(json_schema(), indent=2, ensure_ascii=False))
    return 0


def _report_command(arguments: argparse.Namespace) -> int:
    from launch.find_run import find_run
    from training.report import write_report
    from training.summary import print_table

    run_dir = find_run(arguments.run).path
    print_table(run_dir)
    print(f"report: {write_report(run_dir)}")
    return 0


def _clean(arguments: argparse.Namespace) -> int:
    from launch.clean import clean

    print(clean(arguments.config, arguments.overrides, arguments.run_dir, remove=arguments.yes))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "plan": _plan,
    "status": _status,
    "lineage": _lineage,
    "schema": _schema,
    "report": _report_command,
    "clean": _clean,
}


def entry() -> None:
    """The `posttrain` command and `python -m launch`: refuse to start where our import names lead elsewhere."""
    message = shadow_message()
    if message is not None:
        print(message, file=sys.stderr)
        sys.exit(USER_ERROR)
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # `posttrain plan ... | head`: the reader left, which is no error of ours
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    sys.exit(code)
