"""Ranks that need not import torch, transformers and TRL again: a rehearsal forks them from one process that has.

Importing costs a rank about ten seconds of a core, and a rehearsed stage does little else. The server
(`launch.fork_server_process`) imports once. What the launcher starts as a rank is a small process
(`launch.forked_rank`) that has the server fork the real one, passes signals on to it and ends as it ends. For
rehearsals alone: they see no GPU, and a process that has touched CUDA must not be forked. ZeRO works in forked ranks:
DeepSpeed is imported before the fork, its process group and its shared memory are made after it.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from launch.end_process import end_process
from launch.forked_rank import VARIABLE
from launch.ranks_end import how_it_ended

_END_S = 5.0


def can_fork() -> bool:
    """Whether this Python and this kernel can tell a parent that its fork has ended (pidfd; some builds lack it)."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def through_fork_server(command: Sequence[str], environment: Mapping[str, str]) -> list[str]:
    """Return the command that starts a rank where the environment names a server, else the command as it is."""
    if VARIABLE not in environment or list(command[1:2]) != ["-m"] or not command[2].startswith("training."):
        return list(command)
    return [command[0], "-m", "launch.forked_rank", *command[2:]]


class ForkServer:
    """A server that lives as long as the block; `address` is the environment that leads to it.

    What is started before its imports are done waits for them.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """`environment` is the one that ranks will have: libraries read some of it when they are imported."""
        self._environment = dict(environment)
        self._undo = ExitStack()

    def __enter__(self) -> "ForkServer":
        """Start it; returns once it can be asked."""
        with ExitStack() as undo:  # what comes in between, a Ctrl-C say, leaves nothing behind
            folder = Path(undo.enter_context(_short_folder()))
            path = folder / "socket"
            self.address = {VARIABLE: str(path)}
            process = self._start(path, folder / "log.txt")
            undo.callback(_end, process, folder / "log.txt")
            while not path.exists() and process.poll() is None:
                time.sleep(0.01)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """End it and what it forked; if it ended by itself, its log says why."""
        self._undo.close()

    def _start(self, path: Path, log_path: Path) -> "subprocess.Popen[bytes]":
        own = {"DS_ACCELERATOR": "cpu", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
        with log_path.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "launch.fork_server_process", str(path), str(os.getpid())],
                env={**self._environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


def _short_folder() -> "tempfile.TemporaryDirectory[str]":
    """A folder for a socket, whose path must be short."""
    return tempfile.TemporaryDirectory(prefix="posttrain-", dir="/tmp", ignore_cleanup_errors=True)


def _end(process: "subprocess.Popen[bytes]", log_path: Path) -> None:
    code = process.poll()
    end_process(process, _END_S)
    if code is not None:
        print(f"the fork server {how_it_ended(code)}:\n{log_path.read_text()}", file=sys.stderr)
