"""How an attempt at the run is started: as a user does, or forked from this process, which has imported everything.

Starting Python and importing torch and trl takes longer than the tiny pipeline itself. A forked start skips that and
nothing else: runner and ranks are processes of their own with their own sessions, signals, logs and exit codes.
"""

import ctypes
import importlib
import os
import random
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from benchmarks.torture.points import watch

ROOT = Path(__file__).resolve().parent.parent.parent
NOTES_VARIABLE, RUN_DIR_VARIABLE = "POSTTRAIN_TORTURE_NOTES", "POSTTRAIN_TORTURE_RUN_DIR"
_PR_SET_CHILD_SUBREAPER = 36
WITHOUT_ENGINE = (
    *("launch.run", "training.data_report", "training.train", "training.sft", "training.dpo", "training.grpo"),
    *("training.sample", "training.evaluate"),
)


def adopt_orphans() -> None:
    """Become the parent of whatever a killed process leaves: it can be waited for, and counted."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1)


def start_as_user(arguments: Sequence[str], notes: Path, run_dir: Path, output: Path) -> int:
    """Start `posttrain run`; returns its pid. `sitecustomize` makes every Python of it watch its points."""
    environment = dict(os.environ) | {NOTES_VARIABLE: str(notes), RUN_DIR_VARIABLE: str(run_dir)}
    environment["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent / "in_every_python"), str(ROOT)])
    command = [sys.executable, "-m", "launch", *arguments]
    with output.open("ab") as sink:
        process = subprocess.Popen(
            command, env=environment, stdout=sink, stderr=subprocess.STDOUT, cwd=ROOT, start_new_session=True
        )
    pid = process.pid
    process.returncode = 0  # the attempt is waited for together with what it leaves behind
    return pid


def start_forked(arguments: Sequence[str], notes: Path, run_dir: Path, output: Path) -> int:
    """Fork the runner, which forks its ranks; returns its pid."""

    def runner() -> int:
        import launch.ranks
        from launch.cli import main

        def popen(command: Sequence[str], **options: Any) -> ForkedRank:
            return ForkedRank(command, notes, run_dir, **options)

        stand_in = SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL, STDOUT=subprocess.STDOUT)
        launch.ranks.subprocess = stand_in  # type: ignore[assignment]
        watch(notes, run_dir, ["launch", *arguments])
        return main(arguments)

    with output.open("ab") as sink:
        return fork(runner, sink.fileno())


def fork(work: Callable[[], int], output: int, before: Callable[[], None] | None = None) -> int:
    """Run `work` in a child with a session of its own and its output in a file; its result is the exit code."""
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        os.setsid()
        if before is not None:
            before()
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        signal.set_wakeup_fd(-1)
        forget_random_state()
        code = work()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def forget_random_state() -> None:
    """Every process of its own begins with other random numbers; a forked one would begin with its parent's."""
    import numpy
    import torch

    random.seed()
    numpy.random.seed()
    torch.manual_seed(int.from_bytes(os.urandom(7), "big"))


class ForkedRank:
    """Stands in for `subprocess.Popen` in `launch.ranks`: the rank's program runs in a fork."""

    def __init__(
        self,
        command: Sequence[str],
        notes: Path,
        run_dir: Path,
        env: Mapping[str, str],
        stdout: Any,
        preexec_fn: Callable[[], None],
        **options: Any,
    ):
        arguments = list(command[command.index("training.run_stage") + 1 :])
        _ = options  # stdin, stderr, the session and the descriptors that are kept are as `fork` has them

        def rank() -> int:
            os.environ.clear()
            os.environ.update(env)
            points = watch(notes, run_dir, arguments)
            from training.run_stage import main

            code = main(arguments, process_ends=True)
            if points is not None:
                points.finish()
            return code

        self.pid = fork(rank, stdout.fileno(), preexec_fn)

    def wait(self) -> int:
        """Wait for the end; returns the exit code, negative for a signal."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def import_everything(zero_stage: int) -> None:
    """Import what ranks import, so that their forks need not."""
    os.environ["ACCELERATE_USE_DEEPSPEED" if zero_stage else "ACCELERATE_USE_CPU"] = "true"
    modules = [*WITHOUT_ENGINE, "deepspeed"] if zero_stage else WITHOUT_ENGINE
    for name in modules:
        importlib.import_module(name)
    importlib.import_module("data.without_compiler").import_reasoning_gym()
    importlib.import_module("training.run_stage").quiet_libraries()
    trl = importlib.import_module("trl")
    for name in importlib.import_module("training.trainer_args").CONFIG_CLASSES.values():
        getattr(trl, name)  # trl imports what is in it when asked for it
