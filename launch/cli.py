"""The command line: arguments in, an exit code out. Answers `--help` and `plan` without importing torch or trl.

A `UserError` becomes one message and exit code 2, a full disk one message and exit code 1; with `--debug` the traceback
is shown as well. Everything else travels. What each command takes and does stands in `launch/verbs/`.
"""

import argparse
import errno
import os
import sys
import traceback
from collections.abc import Sequence

from launch.shadow import shadow_message
from launch.verbs import VERBS

USER_ERROR = 2
FAILED = 1  # those of training.exit_codes, which must not be imported before the check for shadowing packages
INTERRUPTED = 130
_FULL_DISK = (errno.ENOSPC, errno.EDQUOT)
_WRONG_PATH = (
    *(errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP),
)

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
    for verb in VERBS:
        verb.add_parser(commands)
    for each in commands.choices.values():
        each.set_defaults(usage_of=each)
    return parser


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the arguments; overrides may stand on both sides of options, which argparse alone refuses."""
    parser = build_parser()
    arguments, rest = parser.parse_known_args(argv)
    misplaced = [text for text in rest if text.startswith("-") or "=" not in text]
    if misplaced or (rest and not hasattr(arguments, "overrides")):
        arguments.usage_of.error(f"unrecognized arguments: {' '.join(misplaced or rest)}")
    for text in getattr(arguments, "overrides", []):
        if "=" not in text:
            arguments.usage_of.error(f"{text} is no override; write key.path=value")
    if rest:
        arguments.overrides = [*arguments.overrides, *rest]
    return arguments


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    from data.errors import UserError

    arguments = parse(argv)
    debug = getattr(arguments, "debug", False)
    try:
        code: int = arguments.execute(arguments)
        return code
    except UserError as error:
        return _report(str(error), USER_ERROR, debug)
    except OSError as error:
        if error.errno in _FULL_DISK:
            return _report(f"the disk is full ({error}); finished stages are kept", FAILED, debug)
        if error.errno in _WRONG_PATH:
            return _report(str(error), USER_ERROR, debug)
        raise
    except KeyboardInterrupt:
        return _report("interrupted; repeat the command to go on, finished stages are kept", INTERRUPTED, debug)


def _report(message: str, code: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"posttrain: {message}", file=sys.stderr, flush=True)
    return code


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
