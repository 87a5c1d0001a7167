"""The parent's end of one reward worker: starting it, the pipes to and from it, and killing it with all it started."""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from training.config.slurm import SECRET_NAME
from training.piped_child import PipedChild

ROOT = Path(__file__).resolve().parent.parent.parent
SINGLE_THREADED = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class WorkerProcess:
    """One running worker. `rows` are the numbers of the rows it has yet to finish, `at` the reward it is at."""

    def __init__(self, setup: dict[str, Any], deadline: float) -> None:
        """Start it and send what to load; it says later whether it is ready, by `deadline` (monotonic seconds)."""
        self._child = PipedChild([sys.executable, "-P", "-m", "training.rewards.worker"], worker_environment(setup))
        self.results = self._child.answers
        self.ready = False
        self.rows: list[int] = []
        self.at = 0
        self.deadline = deadline
        self._received = b""
        self.send(setup)

    def send(self, message: Any) -> None:
        """Write one line; the death of a worker is heard when its results end."""
        with contextlib.suppress(BrokenPipeError):
            self._child.send(message)

    def receive(self) -> list[Any] | None:
        """Return the messages that have arrived, None once the worker has died or writes no messages any more."""
        chunk = os.read(self.results, 1 << 16)
        if not chunk:
            return None
        *lines, self._received = (self._received + chunk).split(b"\n")
        try:
            return [json.loads(line) for line in lines]
        except ValueError:  # A reward has found the pipe and written into it.
            return None

    def has_died(self) -> bool:
        """Whether it has ended by itself."""
        return self._child.process.poll() is not None

    def kill(self) -> str:
        """End it and everything in its session; returns how it ended, for people."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.process.pid, signal.SIGKILL)
        code = self._child.process.wait()
        for descriptor in (self._child.jobs, self.results):
            os.close(descriptor)
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def worker_environment(setup: dict[str, Any]) -> dict[str, str]:
    """The rank's environment without its GPUs, one thread a worker, and the same order of sets in every process.

    Secrets are left out unless a function of the user's own is loaded, which may call a service.
    """
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    own = {"PYTHONPATH": path, "PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
    trusted = any(reward["callable"] is not None for reward in setup["rewards"])
    outer = {name: value for name, value in os.environ.items() if trusted or not SECRET_NAME.search(name)}
    return {**outer, **own, **dict.fromkeys(SINGLE_THREADED, "1")}
