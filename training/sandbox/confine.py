"""What a process does to itself between its birth and its exec: where it is, what it has, and what it may still do.

Runs in the child of `enter.py`. Order matters: mounts need capabilities, the user is left before limits by user count
are set, and the system call filter comes last because it refuses most of what stands above it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import select
import signal

from training.sandbox import landlock, namespaces, seccomp
from training.sandbox.libc import PR_SET_NO_NEW_PRIVS, PR_SET_PDEATHSIG, drop_capabilities, prctl

TYPE_CHECKING = False  # as in typing, whose import every sandboxed program would wait for
if TYPE_CHECKING:
    from typing import Any

LOWEST_FREE_FD, HIGHEST_FD = 16, 1 << 16
MAX_OPEN_FILES = 64
COMPILED = "compiled in CPU seconds: "
"""What the report says of the compilers, whose time the process is charged with too."""
NONE_OF = ("CORE", "MEMLOCK", "MSGQUEUE", "NICE", "RTPRIO")


def become(job: dict[str, Any], run: dict[str, Any], streams: list[int], report: int) -> None:
    """Confine this process and exec `run["argv"]`; returns never. Raises before the exec where that cannot be done.

    `streams` become descriptors 0, 1, 2, 3...; `report` is told what compilers took and closed by the exec, everything
    else is closed too.
    """
    os.setsid()
    for name in ("SIGPIPE", "SIGXFSZ"):  # Python ignores them, and programs would inherit that
        signal.signal(getattr(signal, name), signal.SIG_DFL)
    os.umask(0o022)
    in_namespaces = job["level"] == "namespaces"
    scratch = namespaces.SCRATCH if in_namespaces else job["folder"]
    if in_namespaces:
        namespaces.enter_private_root(job["folder"], job["readable"], job["scratch_bytes"])
    os.chdir(scratch)
    for name, text in job["files"].items():
        os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
        with open(name, "w", encoding="utf-8", errors="replace") as file:
            file.write(text)
    _take(streams, report)
    if in_namespaces:
        namespaces.become_nobody()
    _limit(job, bool(run["before"]))
    _die_with_parent(report)
    threads = _limit_threads(job, in_namespaces)
    drop_capabilities()
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    if job["level"] == "landlock":
        landlock.restrict(job["readable"], scratch)
    environment = {name: value.replace("{scratch}", scratch) for name, value in job["env"].items()}
    commands = [[word.replace("{scratch}", scratch) for word in argv] for argv in [*run["before"], run["argv"]]]
    if run["before"]:
        code = _compile(commands[:-1], environment, threads)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(report, f"{COMPILED}{used.ru_utime + used.ru_stime}\n".encode())
        if code != 0:
            os._exit(code)
    _limit_one("CPU", job["cpu_s"])
    seccomp.install(os.getpid(), threads)
    try:
        os.execve(commands[-1][0], commands[-1], environment)
    except OSError:
        if not run["before"]:
            raise
        os._exit(126)  # what was compiled is no program: the answer's fault, not the sandbox's


def _compile(commands: list[list[str]], environment: dict[str, str], threads: bool) -> int:
    """Run compilers, which may start processes, up to the first that fails; returns its code, 0 where all ended well.

    They are the machine's own programs. What they started and left is killed before the program gets its turn.
    """
    seccomp.install(os.getpid(), threads, compiling=True)
    for argv in commands:
        _, status = os.waitpid(os.posix_spawn(argv[0], argv, environment), 0)
        code = os.waitstatus_to_exitcode(status)
        if code != 0:
            return abs(code)
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    return 0


def _take(streams: list[int], report: int) -> None:
    """Make the streams descriptors 0, 1, 2..., and close all others but `report`, which an exec closes."""
    assert report >= len(streams)
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, LOWEST_FREE_FD) for descriptor in streams]
    lowest = len(streams)
    for kept in sorted([report, *moved]):
        os.closerange(lowest, kept)
        lowest = kept + 1
    os.closerange(lowest, HIGHEST_FD)
    for target, descriptor in enumerate(moved):
        os.dup2(descriptor, target)
        os.close(descriptor)


def _die_with_parent(report: int) -> None:
    """Be killed when the watching process dies; at once if it has died already, which the pipe to it tells."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    poll = select.poll()
    poll.register(report, 0)
    if poll.poll(0):
        os._exit(1)


def _limit(job: dict[str, Any], compiles: bool) -> None:
    limits = {
        "AS": job["memory_bytes"],
        "CPU": job["compile_cpu_s"] if compiles else job["cpu_s"],
        "FSIZE": job["scratch_bytes"],
        "NOFILE": MAX_OPEN_FILES,
        **dict.fromkeys(NONE_OF, 0),
    }
    for name, value in limits.items():
        _limit_one(name, value)


def _limit_one(name: str, value: int) -> None:
    kind = getattr(resource, f"RLIMIT_{name}")
    _, hard = resource.getrlimit(kind)
    if hard != resource.RLIM_INFINITY:
        value = min(value, hard)
    resource.setrlimit(kind, (value, value))


def _limit_threads(job: dict[str, Any], in_namespaces: bool) -> bool:
    """Limit threads by the user's count of tasks; False where that binds nobody (root), so that there is one thread."""
    if os.geteuid() == 0:
        return False
    tasks = job["threads"] + (0 if in_namespaces else _tasks_of_user())
    with contextlib.suppress(ValueError):  # the hard limit is lower still
        resource.setrlimit(resource.RLIMIT_NPROC, (tasks, tasks))
    return True


def _tasks_of_user() -> int:
    """The threads that run under this user now: outside of namespaces they share one limit."""
    count, mine = 0, os.geteuid()
    for entry in os.scandir("/proc"):
        with contextlib.suppress(OSError):  # ended meanwhile
            if entry.name.isdigit() and entry.stat().st_uid == mine:
                count += len(os.listdir(f"/proc/{entry.name}/task"))
    return count
