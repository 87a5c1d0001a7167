"""One life of a run: started, killed and started again until it is done, then compared with the untouched run."""

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.torture.compare import differences
from benchmarks.torture.damage import cut_power, damage_newest_checkpoint
from benchmarks.torture.kinds import DAMAGED, FULL_DISK, POWER_CUT, children, resize
from benchmarks.torture.points import FIRED, Fault, read_lines, write_faults
from training.config import Pipeline
from training.plan import plan_run

Start = Callable[[list[str], Path, Path, Path], int]
ENDS_WITHIN_S = 900.0
ORPHANS_END_WITHIN_S = 120.0
ROOMY = 2 << 30
"""Bytes of the file system of the run folders when it is not full."""


@dataclass
class Bench:
    """Where a torture test works: the pipeline, how it is started, and the folders of runs, notes and caches."""

    pipeline: Pipeline
    arguments: list[str]
    start: Start
    folder: Path

    def run_dir(self, name: str) -> Path:
        """The run folder of a life."""
        return self.folder / "runs" / name

    @property
    def cache(self) -> Path:
        """The cache of models, tokens and hashes."""
        return self.folder / "cache"


@dataclass
class Life:
    """What became of one run: its kills with exit codes and what followed, and how it compares in the end."""

    name: str
    kills: list[dict[str, Any]] = field(default_factory=list)
    attempts: int = 0
    differences: list[str] = field(default_factory=list)
    lost: str | None = None
    wall_s: float = 0.0


def live(bench: Bench, name: str, faults: list[Fault], untouched: str, enough: int) -> Life:
    """Run until done with `faults` happening on the way, `enough` of which may end an attempt; at most two attempts
    more than there are faults."""
    life, started = Life(name), time.monotonic()
    notes = bench.folder / "notes" / name
    notes.mkdir(parents=True, exist_ok=True)
    write_faults(notes, faults)
    seen = 0
    while life.attempts < len(faults) + 2:
        life.attempts += 1
        code = attempt(bench, name, notes)
        fired = read_lines(notes / FIRED)
        for row in fired[seen:]:
            aftermath = after(bench, name, notes, row)
            life.kills.append({**row, "attempt": life.attempts, "exit": code, "aftermath": aftermath})
        if code == 0:
            break
        if len(fired) == seen:
            life.lost = f"attempt {life.attempts} ended with {code} though nothing had happened to it"
            break
        seen = len(fired)
        if life.attempts == enough:  # each of them ended badly
            write_faults(notes, [])
    else:
        life.lost = f"not done after {life.attempts} attempts"
    if life.lost is None:
        plans = [plan_run(bench.pipeline, bench.run_dir(one)) for one in (name, untouched)]
        life.differences = differences(*plans)
    life.wall_s = round(time.monotonic() - started, 1)
    return life


def attempt(bench: Bench, name: str, notes: Path) -> int:
    """Start the run once, wait for it and for everything that it leaves behind; returns the exit code."""
    output, run_dir = notes / "output.log", bench.run_dir(name)
    arguments = [*bench.arguments, "--run-dir", str(run_dir)]
    pid = bench.start(arguments, notes, run_dir, output)
    code = wait_for(pid, ENDS_WITHIN_S)
    if wait_for(None, ORPHANS_END_WITHIN_S) is None:
        raise RuntimeError(f"{name}: something outlived the run; see {output}")
    if code is None:
        raise RuntimeError(f"{name}: hangs; see {output}")
    return code


def wait_for(pid: int | None, seconds: float) -> int | None:
    """Wait for a child to end, or with None for all of them; returns the exit code, None if it did not end."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            ended, status = os.waitpid(-1 if pid is None else pid, os.WNOHANG)
        except ChildProcessError:
            return 0
        if ended and pid is not None:
            return os.waitstatus_to_exitcode(status)
        if not ended:
            time.sleep(0.02)
    kill_children()
    return None


def kill_children() -> None:
    """End what is left, so that the torture test itself leaves nothing."""
    for child in children(os.getpid()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)


def after(bench: Bench, name: str, notes: Path, row: dict[str, Any]) -> str:
    """Do what a kind does once everything is dead; returns it in words."""
    rng = random.Random(row["number"] + 1)
    if row["kind"] == DAMAGED:
        return damage_newest_checkpoint(bench.run_dir(name), rng)
    if row["kind"] == POWER_CUT:
        return cut_power([bench.run_dir(name), bench.cache], notes, rng)
    if row["kind"] == FULL_DISK:
        resize(bench.folder, ROOMY)
    return ""
