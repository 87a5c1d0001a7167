"""The machine around the hostile programs: what they are to harm, what they are asked, and whether harm was done."""

import contextlib
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.hostile_programs import Hostile
from training.rewards import code_judge
from training.rewards.code_execution import code
from training.sandbox import runner

MEMORY_MB = 256
LONGEST_S, DYING_S = 30.0, 5.0
TOKEN = f"TOKEN-{secrets.token_hex(16)}"
CALL = {"call": "token()", "returns": repr(TOKEN)}
SCRIPT = {"script": f"assert token() == {TOKEN!r}\nassert all(map(lambda n: token() == {TOKEN!r}, range(2)))"}
STDIN = {"stdin": "", "stdout": TOKEN}
WATCHER = "training.sandbox.enter"
MISSED = re.compile(r"ended with (?:Syntax|Indentation|Name|Import|Attribute|Type)Error")
"""A program that stumbles over itself attacks nothing."""


@dataclass
class Machine:
    """What must be unharmed after every program."""

    folder: Path
    victim: subprocess.Popen[bytes]
    sockets: dict[str, socket.socket]
    secret: str
    results: list[runner.Result] = field(default_factory=list)

    def fill(self, source: str) -> str:
        """Put this machine's places into a program."""
        words = {
            "FILE": self.folder / "precious",
            "SECRET": self.folder / "secret",
            "OUTSIDE": self.folder,
            "PORT": self.sockets["tcp"].getsockname()[1],
            "SOCKET": self.folder / "socket",
            "ABSTRACT": f"posttrain-{os.getpid()}",
            "VICTIM": self.victim.pid,
            "TRAINER": os.getpid(),
        }
        for name, value in words.items():
            source = source.replace(f"@{name}@", str(value))
        return source

    def state(self) -> dict[str, Any]:
        """All that a program might have changed."""
        precious = self.folder / "precious"
        status = precious.stat()
        return {
            "files": sorted(path.name for path in self.folder.iterdir()),
            "precious": precious.read_text(),
            "mode": (status.st_mode, status.st_uid, status.st_mtime_ns),
            "attributes": os.listxattr(precious),
            "victim": _runs(self.victim.pid),
            "niceness": os.getpriority(os.PRIO_PROCESS, self.victim.pid),
            "cores": os.sched_getaffinity(self.victim.pid),
            "connections": [name for name, listener in self.sockets.items() if _was_reached(listener)],
            "host": socket.gethostname(),
            "left": _left_over(),
            "library": (Path(os.__file__).parent / "sitecustomize.py").exists(),
        }


@contextlib.contextmanager
def machine(folder: Path) -> Iterator[Machine]:
    """Files, a process and listeners for programs to attack."""
    secret = f"SECRET-{secrets.token_hex(16)}"
    (folder / "precious").write_text("precious")
    (folder / "secret").write_text(secret)
    with contextlib.ExitStack() as stack:
        sockets = {name: stack.enter_context(each) for name, each in _listeners(folder).items()}
        victim = subprocess.Popen(["/bin/sleep", "3600"])
        stack.callback(victim.wait)
        stack.callback(victim.kill)
        yield Machine(folder, victim, sockets, secret)


def attack(hostile: Hostile, target: Machine, level: str, monkeypatch: pytest.MonkeyPatch) -> float | None:
    """Have a program scored, asserting that it did no harm; returns its score."""
    monkeypatch.setenv("POSTTRAIN_TEST_SECRET", target.secret)
    results = target.results
    results.clear()
    _collect(results, monkeypatch)
    before, began = target.state(), time.monotonic()
    tests = [CALL]
    if hostile.family == "cheats":
        prints = "print(" in hostile.source or "exit(" in hostile.source
        tests += [SCRIPT, STDIN] if prints else [SCRIPT]
    completion = f"```python\n{target.fill(hostile.source)}```"
    (score,) = code([completion], [""], [tests], timeout_s=0.5, memory_mb=MEMORY_MB, partial=True, sandbox=level)
    assert time.monotonic() - began < LONGEST_S
    after = _settled(target, before)
    assert after == before, {name: (before[name], now) for name, now in after.items() if now != before[name]}
    assert results
    for result in results:
        told = result.stdout + result.stderr
        assert target.secret not in told
        assert not any(word in told for word in ("wrote", "changed", "opened", "chrooted", "forked", "listening"))
        assert hostile.family == "cheats" or not MISSED.search(told), told[:500]
        assert len(told) <= 2 * runner.Limits().output_bytes
        assert result.memory_bytes < 1.2 * MEMORY_MB * 10**6
    return score


def _settled(target: Machine, before: dict[str, Any]) -> dict[str, Any]:
    """The machine's state, once what was killed has died: the kernel takes a moment."""
    deadline = time.monotonic() + DYING_S
    while (now := target.state()) != before and time.monotonic() < deadline:
        time.sleep(0.05)
    return now


def _collect(results: list[runner.Result], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what each sandbox of the judge told, besides what the judge makes of it."""

    class Listening(runner.Sandbox):
        def results(self, within_s: float | None = None) -> list[runner.Result]:
            found = super().results(within_s)
            results.extend(found)
            return found

    monkeypatch.setattr(runner, "Sandbox", Listening)
    monkeypatch.setattr(code_judge, "Sandbox", Listening)


def _listeners(folder: Path) -> dict[str, socket.socket]:
    tcp = socket.create_server(("127.0.0.1", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(tcp.getsockname())
    unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    unix.bind(str(folder / "socket"))
    abstract.bind(f"\0posttrain-{os.getpid()}")
    for listener in (unix, abstract):
        listener.listen()
    for listener in (tcp, udp, unix, abstract):
        listener.setblocking(False)
    return {"tcp": tcp, "udp": udp, "unix": unix, "abstract": abstract}


def _was_reached(listener: socket.socket) -> bool:
    try:
        if listener.type == socket.SOCK_DGRAM:
            listener.recv(100)
        else:
            listener.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def _runs(pid: int) -> bool:
    """Whether a process is neither stopped, traced nor dead; one that has just begun is not asleep yet."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "RSD"


def _left_over() -> list[str]:
    """Commands of sandboxed programs that have outlived their sandbox. Those of other test runs have theirs."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError):  # ended meanwhile
            command = _command(path)
            if not any(word in command for word in ("inside.py", "program.py", "86421", WATCHER)):
                continue
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
            watched = WATCHER in _command(Path(f"/proc/{parent}"))
            if parent in (1, os.getpid()) if WATCHER in command else not watched:
                found.append(command)
    return found


def _command(process: Path) -> str:
    return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
