"""The program that stands between us and a sandboxed one: a job on its standard input, results on its output.

A small interpreter of its own, so that nothing of a trainer (memory, descriptors, environment) is near. For each run of
the job it makes a process in fresh isolation, feeds and reads its streams up to the limits, kills what is over them and
reports how it ended. The program inside never holds a descriptor of ours: what it prints is data.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import sys
import time

from training.sandbox import namespaces
from training.sandbox.confine import COMPILED, become

TYPE_CHECKING = False  # as in typing, whose import every sandboxed program would wait for
if TYPE_CHECKING:
    from typing import Any

CHUNK = 1 << 16
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.001, 0.02
LOOK_EACH_S = 0.5
"""How often a program's waiting is looked up: what a thread waited is gone with it."""


class Watched:
    """One process under way: its pid, its streams by descriptor, what it has printed, and why it was stopped."""

    def __init__(self, pid: int, streams: dict[int, str]) -> None:
        self.pid, self.streams = pid, streams
        self.printed: dict[str, bytearray] = {}
        self.stopped: str | None = None


class Clock:
    """When a program must have ended: at a deadline, later by the time that it waited for a core, up to `spare`.

    `waited` is the most that was ever seen: the waiting of a thread that has ended counts on.
    """

    def __init__(self, pid: int, deadline: float, spare: float) -> None:
        self.pid, self.deadline, self.spare = pid, deadline, spare
        self.waited = 0.0
        self._next_look = time.monotonic() + LOOK_EACH_S

    def look(self) -> None:
        """See how long it has waited."""
        self.waited = max(self.waited, min(self.spare, waited_s(self.pid)))
        self._next_look = time.monotonic() + LOOK_EACH_S

    def left(self) -> float:
        """Seconds that are left, or less than 0."""
        now = time.monotonic()
        left = self.deadline - now
        if left <= 0 or now >= self._next_look:
            self.look()
        return left if left > 0 else left + self.waited


def waited_s(pid: int) -> float:
    """How long a process was ready to run while no core was free: that of its thread which waited longest.

    Linux counts it (schedstat's second number, nanoseconds); 0.0 where it does not say. Threads that keep one another
    waiting use up their common CPU time meanwhile.
    """
    longest = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(OSError, ValueError, IndexError),
                open(f"/proc/{pid}/task/{thread}/schedstat") as file,
            ):
                longest = max(longest, int(file.read().split()[1]))
    return longest / 1e9


def main() -> int:
    """Do the job on standard input."""
    job = json.loads(sys.stdin.buffer.read())
    try:
        results = do_runs(job)
    except OSError as error:
        sys.exit(str(error))
    json.dump(results, sys.stdout)
    return 0


def do_runs(job: dict[str, Any]) -> list[dict[str, Any]]:
    """Do the runs one after the other, as far as the job's time and its failures let them."""
    deadline, spare = time.monotonic() + job["wall_s"], job["waiting_s"]
    results: list[dict[str, Any]] = []
    for run in job["runs"]:
        results.append(do_run(job, run, deadline, spare))
        deadline += results[-1]["waited_s"]
        spare -= results[-1]["waited_s"]
        ended_well = results[-1].get("code") == 0
        if results[-1]["stopped"] or (job["stop_at_failure"] and not ended_well):
            break
    return results


def do_run(job: dict[str, Any], run: dict[str, Any], deadline: float, spare: float) -> dict[str, Any]:
    """Run one program to its end or its limits; waiting for a core puts `deadline` off, by `spare` seconds at most."""
    began, each = time.monotonic(), job["wall_s_each"]
    watched, report = start(job, run)
    clock = Clock(watched.pid, min(deadline, began + each), min(spare, job["waiting"] * each))
    watch(watched, clock, job["output_bytes"])
    clock.look()
    _, status, usage = os.wait4(watched.pid, 0)
    code = os.waitstatus_to_exitcode(status)
    failure, compile_cpu_s = report()
    cpu_s = usage.ru_utime + usage.ru_stime - compile_cpu_s
    if watched.stopped is None and code == -signal.SIGKILL and cpu_s > 0.9 * job["cpu_s"]:
        watched.stopped = "time"
    texts = {name: bytes(printed).decode("utf-8", "replace") for name, printed in watched.printed.items()}
    return {
        "failure": failure,
        "code": code,
        "stopped": watched.stopped,
        "stdout": texts.get("stdout", ""),
        "stderr": texts.get("stderr", ""),
        "cpu_s": cpu_s,
        "compile_cpu_s": compile_cpu_s,
        "wall_s": time.monotonic() - began,
        "waited_s": clock.waited,
        "memory_bytes": usage.ru_maxrss * 1024,
    }


def start(job: dict[str, Any], run: dict[str, Any]) -> tuple[Watched, Any]:
    """Start a run; returns it and a function that tells, after its end, why it could not be started (or None), and the
    CPU seconds that its compilers took.
    """
    standard_input = run["stdin_fd"]
    if standard_input is None:
        standard_input = _file_with(run["stdin"], job["folder"])
    out, stdout = os.pipe()
    err, stderr = os.pipe()
    report, failure = os.pipe()
    told, tell = os.pipe()
    streams = [standard_input, run["stdout_fd"] or stdout, stderr, *run["more_fds"]]
    sys.stdout.flush()
    pid = namespaces.clone_into_namespaces() if job["level"] == "namespaces" else os.fork()
    if pid == 0:
        _child(job, run, streams, failure, told, tell)
    for descriptor in {standard_input, stdout, stderr, failure, told, *streams[3:], streams[1]}:
        os.close(descriptor)
    if job["level"] == "namespaces":
        namespaces.map_users(pid)
    os.write(tell, b"1")
    os.close(tell)

    def told_before() -> tuple[str | None, float]:
        with os.fdopen(report, "rb") as lines:
            text = lines.read().decode("utf-8", "replace")
        compile_cpu_s = 0.0
        if text.startswith(COMPILED):
            line, _, text = text.partition("\n")
            compile_cpu_s = float(line.removeprefix(COMPILED))
        return text or None, compile_cpu_s

    return Watched(pid, {out: "stdout", err: "stderr"}), told_before


def watch(watched: Watched, clock: Clock, output_bytes: int) -> None:
    """Read what it prints until it has ended, killing it after its time or beyond its output; leaves it unreaped."""
    pause, room = FIRST_PAUSE_S, output_bytes
    with selectors.DefaultSelector() as selector:
        for descriptor, name in watched.streams.items():
            selector.register(descriptor, selectors.EVENT_READ, name)
            watched.printed[name] = bytearray()
        while selector.get_map() or not _has_ended(watched.pid):
            left = clock.left()
            if watched.stopped is None and (left <= 0 or room < 0):
                watched.stopped = "time" if left <= 0 else "output"
                os.kill(watched.pid, signal.SIGKILL)
            if not selector.get_map():
                time.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
                continue
            pause_s = None if watched.stopped is not None else min(max(left, LONGEST_PAUSE_S), LOOK_EACH_S)
            for key, _ in selector.select(pause_s):
                chunk = os.read(key.fd, CHUNK)
                if not chunk:
                    selector.unregister(key.fd)
                    os.close(key.fd)
                elif room >= 0:
                    watched.printed[key.data] += chunk[: room + 1]
                    room -= len(chunk)


def _child(job: dict[str, Any], run: dict[str, Any], streams: list[int], failure: int, told: int, tell: int) -> None:
    """Everything in the child; what goes wrong before the exec is written to `failure`."""
    try:
        os.close(tell)
        if os.read(told, 1):
            become(job, run, streams, failure)
    except BaseException as error:  # Whatever it is, the parent must hear of it, and this process must end here.
        os.write(failure, f"{type(error).__name__}: {error}".encode())
    finally:
        os._exit(111)


def _file_with(text: str, folder: str) -> int:
    """A read-only descriptor of an unlinked file with `text`."""
    path = f"{folder}.stdin"
    with open(path, "w", encoding="utf-8", errors="replace") as file:
        file.write(text)
    descriptor = os.open(path, os.O_RDONLY)
    os.unlink(path)
    return descriptor


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
