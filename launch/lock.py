"""One runner per run folder: `lock.json` names the owner, an flock on it tells whether anyone still holds it.

A runner of a single stage (a Slurm job) holds `locks/<stage>.json` instead: jobs of different stages work in one run
folder at once, a runner of the whole pipeline never beside them. Each takes its own lock first and looks at the others'
then, so that of two that come at once at least one sees the other.

The ranks inherit the open file, so the lock outlives a killed runner until its ranks have ended. The owner touches the
file every few seconds; that tells a dead owner on another host, where a file system does not share flocks.
"""

import contextlib
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
from training.process_birth import process_birth
from training.progress import utc_words

LOCK_NAME = "lock.json"
STAGE_LOCKS = "locks"
POLL_S = 0.5
TOUCH_EVERY_S = 20.0
STALE_AFTER_S = 600.0


class RunLock:
    """Hold the lock of a run folder, or of one stage in it, for a `with` block; every rank is to inherit `fileno`.

    Raises `UserError` naming the owner's pid and host if another process holds it for longer than `wait_s`. A lock left
    by a dead process of this host is taken over, one left on another host once it has not been touched for ten minutes,
    or at once by the same Slurm job, which Slurm restarts only when it has ended.
    """

    def __init__(self, run_dir: Path, stage: str | None = None, wait_s: float = 0.0) -> None:
        self.path = run_dir / LOCK_NAME if stage is None else run_dir / STAGE_LOCKS / f"{stage}.json"
        self._run_dir = run_dir
        self._stage = stage
        self._wait_s = wait_s
        self._descriptor = -1
        self._released = threading.Event()

    @property
    def fileno(self) -> int:
        """The open file that carries the lock."""
        return self._descriptor

    def __enter__(self) -> "RunLock":
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o644)
        deadline = time.monotonic() + self._wait_s
        try:
            while not self._acquired(refuse=time.monotonic() >= deadline):
                time.sleep(POLL_S)
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

    def _acquired(self, refuse: bool) -> bool:
        """Take the lock if it is free; else raise, or return False where there is time to try again."""
        free = _flocked(self._descriptor, fcntl.LOCK_EX)
        holder = self.path if not free or _alive(self.path) else None
        if holder is None:
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(_present_owner()).encode(), 0)
            os.fsync(self._descriptor)
            holder = next((path for path in self._others() if in_use(path)), None)
            if holder is None:
                return True
            os.ftruncate(self._descriptor, 0)
        if refuse:
            raise UserError(_held_by(read_owner(holder), holder, self._run_dir))
        if free:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        return False

    def _others(self) -> list[Path]:
        """The locks that exclude this one."""
        return stage_locks(self._run_dir) if self._stage is None else [self._run_dir / LOCK_NAME]

    def _keep_touching(self) -> None:
        while not self._released.wait(TOUCH_EVERY_S):
            with contextlib.suppress(OSError):  # a file system that is away for a while may come back
                os.utime(self.path)


def stage_locks(run_dir: Path) -> list[Path]:
    """Return the lock files of single stages that were ever made in a run folder."""
    return sorted((run_dir / STAGE_LOCKS).glob("*.json"))


def in_use(path: Path) -> bool:
    """Whether anyone holds the lock at `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        return not _flocked(descriptor, fcntl.LOCK_SH) or _alive(path)
    finally:
        os.close(descriptor)


def _flocked(descriptor: int, how: int) -> bool:
    try:
        fcntl.flock(descriptor, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _alive(path: Path) -> bool:
    owner = read_owner(path)
    return owner is not None and owner_alive(owner, path)


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
    if owner.get("slurm_job") is not None and owner["slurm_job"] == os.environ.get("SLURM_JOB_ID"):
        return owner["slurm_restart"] == os.environ.get("SLURM_RESTART_COUNT", "0")
    return time.time() - path.stat().st_mtime < STALE_AFTER_S


def _present_owner() -> dict[str, Any]:
    started = datetime.now(UTC).isoformat(timespec="seconds")
    owner = {"pid": os.getpid(), "host": platform.node(), "born": process_birth(os.getpid()), "started_at": started}
    if "SLURM_JOB_ID" in os.environ:
        restart = os.environ.get("SLURM_RESTART_COUNT", "0")
        owner |= {"slurm_job": os.environ["SLURM_JOB_ID"], "slurm_restart": restart}
    return owner


def _held_by(owner: dict[str, Any] | None, path: Path, run_dir: Path) -> str:
    if owner is None:
        return f"{run_dir} is in use by another posttrain; wait for it to end"
    who = f"process {owner['pid']} on host {owner['host']} (since {utc_words(owner.get('started_at', '?'))})"
    if owner.get("slurm_job") is not None:
        who = f"Slurm job {owner['slurm_job']}, {who}"
    if owner["host"] != platform.node():
        return f"{run_dir} is in use by {who}; if that host is gone, remove {path} and repeat the command"
    if process_birth(owner["pid"]) != owner["born"]:
        return f"{run_dir} is in use by the ranks of {who}, which was killed; repeat the command when they have ended"
    return f"{run_dir} is in use by {who}; wait for it, or stop it with `kill {owner['pid']}`"
