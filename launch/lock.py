"""One runner per run folder: `lock.json` names the owner, an flock on it tells whether anyone still holds it.

The ranks inherit the open file, so the lock outlives a killed runner until its ranks have ended. The owner touches the
file every few seconds; that tells a dead owner on another host, where a file system does not share flocks.
"""

import fcntl
import json
import os
import platform
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from data.errors import UserError

LOCK_NAME = "lock.json"
TOUCH_EVERY_S = 20.0
STALE_AFTER_S = 600.0


class RunLock:
    """Hold the lock of a run folder for a `with` block; `fileno` is to be inherited by every rank.

    Raises `UserError` naming the owner's pid and host if another process holds it. A lock left by a dead process of
    this host is taken over, one left on another host once it has not been touched for ten minutes.
    """

    def __init__(self, run_dir: Path) -> None:
        self.path = run_dir / LOCK_NAME
        self._descriptor = -1
        self._released = threading.Event()

    @property
    def fileno(self) -> int:
        """The open file that carries the lock."""
        return self._descriptor

    def __enter__(self) -> "RunLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire()
        except UserError:
            os.close(self._descriptor)
            raise
        threading.Thread(target=self._keep_touching, daemon=True, name="run-lock").start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._released.set()
        os.ftruncate(self._descriptor, 0)
        os.close(self._descriptor)

    def _acquire(self) -> None:
        free = True
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            free = False
        owner = read_owner(self.path)
        if not free or (owner is not None and owner_alive(owner, self.path)):
            raise UserError(_held_by(owner, self.path))
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, json.dumps(_present_owner()).encode(), 0)
        os.fsync(self._descriptor)

    def _keep_touching(self) -> None:
        while not self._released.wait(TOUCH_EVERY_S):
            os.utime(self.path)


def read_owner(path: Path) -> dict[str, Any] | None:
    """Return who wrote the lock file, or None if it is absent, empty (released) or torn."""
    try:
        owner = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return owner if isinstance(owner, dict) and {"pid", "host", "born"} <= owner.keys() else None


def owner_alive(owner: dict[str, Any], path: Path) -> bool:
    """Whether the owner still runs: its process on this host, the age of the file's last touch on another."""
    if owner["host"] == platform.node():
        return process_birth(owner["pid"]) == owner["born"]
    return time.time() - path.stat().st_mtime < STALE_AFTER_S


def process_birth(pid: int) -> str | None:
    """Return when a living process started (clock ticks since boot); with the pid it names one process for good."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else fields[19]


def _present_owner() -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    return {"pid": os.getpid(), "host": platform.node(), "born": process_birth(os.getpid()), "started_at": started}


def _held_by(owner: dict[str, Any] | None, path: Path) -> str:
    if owner is None:
        return f"{path.parent} is in use by another posttrain; wait for it to end"
    who = f"process {owner['pid']} on host {owner['host']} (since {owner.get('started_at', '?')})"
    if owner["host"] != platform.node():
        return f"{path.parent} is in use by {who}; if that host is gone, remove {path} and repeat the command"
    if process_birth(owner["pid"]) != owner["born"]:
        return (
            f"{path.parent} is in use by the ranks of {who}, which was killed; repeat the command when they have ended"
        )
    return f"{path.parent} is in use by {who}; wait for it, or stop it with `kill {owner['pid']}`"
