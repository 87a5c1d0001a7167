"""posttrain's end of vLLM's process (`training.vllm_engine`): starting it, asking it, and hearing that it has died."""

import json
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

from training.config.slurm import SECRET_NAME
from training.piped_child import PipedChild

ROOT = Path(__file__).resolve().parent.parent
RANK_NAMES = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK", "MASTER_ADDR", "MASTER_PORT")


class EngineFailed(RuntimeError):
    """vLLM refused a job or is gone."""


class EngineProcess:
    """One vLLM, which answers each job with one line."""

    def __init__(self, python: str, setup: dict[str, Any], threads: int) -> None:
        """Start it and wait until it is ready: half a minute to some minutes, as long as vLLM takes to load.

        Its temporary folder is its own and goes with it: vLLM leaves files of its rendezvous there at every start.
        """
        folder = tempfile.mkdtemp(prefix="posttrain-vllm-")
        environment = {**engine_environment(threads), "TMPDIR": folder}
        self._child = PipedChild([python, "-m", "training.vllm_engine"], environment)
        self._answers = os.fdopen(self._child.answers, "rb")
        self.close = weakref.finalize(self, _end, self._child, folder, os.getpid())
        self._ask("start", setup)

    def ask(self, job: str, **arguments: Any) -> dict[str, Any]:
        """Return vLLM's answer to a job; EngineFailed says which one it refused or did not survive."""
        return self._ask(job, {"job": job, **arguments})

    def _ask(self, what: str, message: dict[str, Any]) -> dict[str, Any]:
        try:
            self._child.send(message)
            line = self._answers.readline()
        except BrokenPipeError:
            line = b""
        if not line.endswith(b"\n"):
            raise EngineFailed(f"vLLM's process ended with {self._ended()} during {what}; its output is in this log")
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise EngineFailed(f"vLLM failed during {what}: {answer['failed']}")
        return answer

    def _ended(self) -> str:
        code = self._child.process.wait()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


def _end(child: PipedChild, folder: str, owner: int) -> None:
    """Close the pipe, kill it and remove its folder: nothing of it is worth keeping. A fork of the owner leaves all."""
    if os.getpid() == owner:
        os.close(child.jobs)
        child.process.kill()
        child.process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def engine_environment(threads: int) -> dict[str, str]:
    """The rank's environment without its rank and without secrets; what the user set of vLLM's own variables stays."""
    outer = {
        name: value for name, value in os.environ.items() if name not in RANK_NAMES and not SECRET_NAME.search(name)
    }
    defaults = {
        "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB; vLLM would take a share of all memory there is
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_LOGGING_LEVEL": "WARNING",
    }
    own = {
        "PYTHONPATH": str(ROOT),
        "PYTHONSAFEPATH": "1",
        "OMP_NUM_THREADS": str(threads),
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # its engine in that process, so that it ends with it
        "VLLM_NO_USAGE_STATS": "1",
    }
    return defaults | outer | own
