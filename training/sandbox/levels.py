"""The isolation levels, what a machine must have for each, and whether this one has it.

Nothing is weakened in silence: a level that cannot be had is refused, and the message names those that can. A probe
does not ask the kernel what it claims: it runs a program inside that tries to get out.
"""

import functools
import json
import os
import tempfile

from data.errors import UserError
from training.sandbox.runner import Limits, Place, Run, SandboxError, python_command, run_programs

LEVELS = {
    "namespaces": "user namespaces: no network, no other processes and a private file system",
    "landlock": "Landlock and the system call filter: no sockets, one process, no file of yours can be opened, but "
    "names and sizes can be seen",
    "seccomp": "the system call filter alone: no sockets, one process; YOUR FILES CAN BE READ AND WRITTEN",
}
"""From the strongest to the weakest, in words."""

PROBE = """
import json, os, socket, sys
def raises(function, *arguments):
    try:
        function(*arguments)
    except OSError:
        return True
    return False
secret, = sys.argv[1:]
print(json.dumps({
    "sockets": raises(socket.socket),
    "processes": raises(os.fork),
    "reading": raises(open, secret),
    "writing": raises(open, secret, "a"),
    "scratch": not raises(open, "own", "w"),
    "alone": os.getpid() == 1,
}))
"""
_EVERY_LEVEL = {"sockets": True, "processes": True, "scratch": True}
_CLOSED = {**_EVERY_LEVEL, "reading": True, "writing": True}
_EXPECTED = {"namespaces": {**_CLOSED, "alone": True}, "landlock": _CLOSED, "seccomp": _EVERY_LEVEL}


def check_level(reward: str, level: object) -> None:
    """Raise UserError unless `level` is the name of a level; asks nothing of this machine."""
    if level not in LEVELS:
        raise UserError(f"reward {reward}: sandbox={level!r} is not accepted; use {', '.join(LEVELS)}")


def require_level(reward: str, level: str) -> None:
    """Raise UserError unless this machine can give `level`, naming the weaker ones that it can."""
    reason = why_not(level)
    if reason is None:
        return
    weaker = [name for name in list(LEVELS)[list(LEVELS).index(level) + 1 :] if why_not(name) is None]
    offered = "; ".join(f"sandbox: {name} ({LEVELS[name]})" for name in weaker)
    raise UserError(
        f"reward {reward} runs programs of the model in a sandbox, and sandbox: {level} cannot be had on this machine: "
        f"{reason}. {f'To accept less, write {offered}' if offered else 'No weaker level can be had either'}. "
        "docs/sandbox.md says what each level keeps out and what a machine needs for it"
    )


@functools.cache
def why_not(level: str) -> str | None:
    """Return why this machine cannot give `level`, None if it can: found out by a program that tries to get out."""
    with tempfile.TemporaryDirectory(prefix="posttrain-probe-") as folder:
        secret = os.path.join(os.path.realpath(folder), "secret")
        with open(secret, "w") as file:
            file.write("secret")
        run = Run(python_command("-c", PROBE, secret))
        try:
            result = run_programs(Place(level, Limits(cpu_s=10.0)), [run], {})[0]
        except (SandboxError, OSError) as error:
            return str(error)
    if not result.ended_well:
        last = (result.stderr.strip().splitlines() or [f"exit code {result.code}"])[-1]
        return f"a first program ended with: {last}"
    found = json.loads(result.stdout)
    leaks = [name for name, wanted in _EXPECTED[level].items() if found[name] != wanted]
    return f"a probe inside was not held back: {', '.join(leaks)}" if leaks else None
