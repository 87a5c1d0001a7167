"""Running programs in the sandbox: what is allowed, what came out.

`Sandbox` starts `enter.py` in a clean environment and hands it the job; `results()` waits for it. The sandboxed
programs die with it, and it dies with the process group of the caller.
"""

import contextlib
import json
import math
import os
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parent.parent.parent)
ENTER = "import sys; sys.path.insert(0, sys.argv[1]); from training.sandbox.enter import main; sys.exit(main())"
GRACE_S = 20.0
"""How long beyond its own limit `enter.py` may take on a busy machine before it counts as stuck."""
MOST_WAITING = 2.0
"""Time in which a program was ready to run and no core was free is not its own: limits of wall time grow by it, but by
no more than so many times themselves. A machine that others keep busy decides no verdict. What a compiler waits is not
counted: the wall time of what it belongs to has room for it."""

SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/nix/store", "/gnu/store")
MAX_TOLD = 2000


class SandboxError(RuntimeError):
    """The sandbox itself failed; the program inside is not to blame, and nothing is known about it."""


@dataclass(frozen=True)
class Limits:
    """What one program may use. Times in seconds: `cpu_s` each, `wall_s` each (None: twice the CPU time and 2 s), and
    `total_s` for all runs of a job, in which waiting for a core does not count, up to `waiting_s` (None: MOST_WAITING
    times `total_s`); sizes in MB (1e6 bytes). Threads count, processes do not: there is one, but for compilers, which
    have `compile_cpu_s` each."""

    cpu_s: float = 5.0
    compile_cpu_s: float = 60.0
    wall_s: float | None = None
    total_s: float = 60.0
    waiting_s: float | None = None
    memory_mb: int = 512
    scratch_mb: int = 32
    output_bytes: int = 1 << 20
    threads: int = 32

    @property
    def wall_s_each(self) -> float:
        """Wall time of one program."""
        return 2 * self.cpu_s + 2 if self.wall_s is None else self.wall_s

    @property
    def waiting_s_counted(self) -> float:
        """Waiting for a core by which all limits of wall time together grow at most."""
        return MOST_WAITING * self.total_s if self.waiting_s is None else self.waiting_s

    @property
    def longest_s(self) -> float:
        """Wall time after which all runs of a job have ended, however busy the machine is."""
        return self.total_s + self.waiting_s_counted


@dataclass(frozen=True)
class Run:
    """One program: its command (an absolute path first; "{scratch}" is its folder) and its standard input.

    `before` are compilers of this machine, run one after the other in the same folder: they alone may start processes
    (at level "namespaces" only), and where one fails its exit code is the run's. Descriptors given here replace the
    streams: they are closed in this process once the sandbox has them.
    """

    argv: Sequence[str]
    stdin: str = ""
    stdin_fd: int | None = None
    stdout_fd: int | None = None
    more_fds: tuple[int, ...] = ()
    before: Sequence[Sequence[str]] = ()


@dataclass(frozen=True)
class Result:
    """How a run ended: `code` is the exit code or minus the signal, `stopped` "time" or "output" where we ended it.

    `cpu_s` is the program's own, `compile_cpu_s` that of what ran before it; `wall_s` and `memory_bytes` are of both.
    `waited_s` of the wall time it waited for a core.
    """

    code: int
    stopped: str | None
    stdout: str
    stderr: str
    cpu_s: float
    wall_s: float
    memory_bytes: int
    compile_cpu_s: float = 0.0
    waited_s: float = 0.0

    @property
    def ended_well(self) -> bool:
        """Whether it ended by itself, with exit code 0."""
        return self.stopped is None and self.code == 0


@dataclass(frozen=True)
class Place:
    """Where programs run: the isolation level, what they may use, and further folders that they may read."""

    level: str
    limits: Limits = field(default_factory=Limits)
    readable: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


class Sandbox:
    """One job under way: runs of programs one after the other, each in fresh isolation with the same files."""

    def __init__(self, place: Place, runs: Sequence[Run], files: Mapping[str, str], stop_at_failure: bool = False):
        """Start it. A run that is stopped ends the job; so does any that fails, with `stop_at_failure`."""
        self._folder = tempfile.TemporaryDirectory(prefix="posttrain-sandbox-", ignore_cleanup_errors=True)
        self._patience_s = place.limits.longest_s + GRACE_S
        descriptors = [descriptor for run in runs for descriptor in _descriptors(run)]
        job = _job(place, runs, files, stop_at_failure, os.path.realpath(self._folder.name))
        try:
            self._process = subprocess.Popen(
                [python(), "-I", "-S", "-c", ENTER, ROOT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=descriptors,
                env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
                cwd="/",
            )
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError), self._process.stdin as sink:  # it died; `results` tells of what
            sink.write(json.dumps(job).encode())
        self._process.stdin = None

    def __enter__(self) -> "Sandbox":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def results(self, within_s: float | None = None) -> list[Result]:
        """Wait for the job; one result for each run that was begun. Raises SandboxError where the sandbox failed.

        What has not ended `within_s` is killed and has no results; without it, that is a failure of the sandbox.
        """
        try:
            out, err = self._process.communicate(timeout=within_s or self._patience_s)
        except subprocess.TimeoutExpired:
            if within_s is not None:
                return []
            raise SandboxError(f"no result after {self._patience_s:.0f} s") from None
        finally:
            self.close()
        if self._process.returncode != 0:
            words = err.decode("utf-8", "replace").strip().splitlines() or [f"exit code {self._process.returncode}"]
            raise SandboxError(words[-1][-MAX_TOLD:])
        return [_result(each) for each in json.loads(out)]

    def close(self) -> None:
        """Kill whatever is left of the job and remove its folder."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        try:
            self._folder.cleanup()
        except RecursionError:  # folders in folders, more than Python walks through
            subprocess.run(["rm", "-rf", "--", self._folder.name], check=False)


def run_programs(
    place: Place, runs: Sequence[Run], files: Mapping[str, str], stop_at_failure: bool = False
) -> list[Result]:
    """Run programs one after the other, each with `files` (name: text) in its folder; see `Sandbox`."""
    with Sandbox(place, runs, files, stop_at_failure) as sandbox:
        return sandbox.results()


def python() -> str:
    """The interpreter itself, not the virtual environment's link to it."""
    return os.path.realpath(sys.executable)


def python_command(*words: str) -> list[str]:
    """The command of a Python program: the standard library, no site packages, no folder of the script on the path."""
    return [python(), "-S", "-s", "-P", "-B", "-X", "utf8", *words]


def _job(
    place: Place, runs: Sequence[Run], files: Mapping[str, str], stop_at_failure: bool, folder: str
) -> dict[str, Any]:
    limits = place.limits
    assert place.level == "namespaces" or not any(run.before for run in runs)
    own = {"PATH": "/usr/bin:/bin", "HOME": "{scratch}", "TMPDIR": "{scratch}", "LANG": "C.UTF-8"}
    return {
        "level": place.level,
        "folder": folder,
        "readable": _readable(place.readable),
        "files": dict(files),
        "env": {**own, "PYTHONHASHSEED": "0", **place.environment},
        "runs": [vars(run) for run in runs],
        "stop_at_failure": stop_at_failure,
        "cpu_s": max(1, math.ceil(limits.cpu_s)),
        "compile_cpu_s": max(1, math.ceil(limits.compile_cpu_s)),
        "wall_s": limits.total_s,
        "wall_s_each": limits.wall_s_each,
        "waiting": MOST_WAITING,
        "waiting_s": limits.waiting_s_counted,
        "memory_bytes": limits.memory_mb * 10**6,
        "scratch_bytes": limits.scratch_mb * 10**6,
        "output_bytes": limits.output_bytes,
        "threads": limits.threads,
    }


def _readable(more: Sequence[str]) -> list[str]:
    """What a Python of this machine and `more` need, parents before what lies in them, each once."""
    own = [sys.base_prefix, sys.base_exec_prefix, sysconfig.get_path("stdlib"), os.path.dirname(python())]
    found: list[str] = []
    for path in sorted({*SYSTEM, *map(os.path.realpath, [*own, *more])}):
        if not any(path.startswith(f"{parent}/") for parent in found if not os.path.islink(parent)):
            found.append(path)
    return [path for path in found if os.path.lexists(path)]


def _descriptors(run: Run) -> list[int]:
    return [each for each in (run.stdin_fd, run.stdout_fd, *run.more_fds) if each is not None]


def _result(told: dict[str, Any]) -> Result:
    failure = told.pop("failure")
    if failure is not None:
        raise SandboxError(failure[-MAX_TOLD:])
    return Result(**told)
