"""The small file in which each rank says what it is doing: read by the runner, `status` and tests, on any machine.

`heartbeat` says that the process lives, `progress` that it gets on: it counts phases begun and units of work finished,
so that a rank which waits in a collective has the one and not the other.
"""

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from training.process_birth import process_birth
from training.stacks import stacks_path

WRITE_EVERY_S = 2.0
HEARTBEAT_EVERY_S = 5.0
COUNTED = ("phase", "step")
"""Fields whose change is progress."""


class RankState:
    """Keeps `<stage folder>/ranks/<rank>.json` current; writes are atomic.

    What the main thread reports is written at most every two seconds, and a thread writes every five what has become of
    it, until `finish`. After the first, a write that fails is left for the next: a full disk is told where something of
    worth is written.
    """

    def __init__(self, stage_folder: Path, rank: int):
        self.path = state_path(stage_folder, rank)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        pid = os.getpid()
        self._state: dict[str, Any] = {"pid": pid, "born": process_birth(pid), "host": platform.node()}
        self._state |= {"phase": "starting", "activity": None, "progress": 0, "outcome": None}
        self._written_at = 0.0
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self._write()
        threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    def update(self, force: bool = False, **fields: Any) -> None:
        """Merge `fields` (phase, step, max_steps, metrics, eta_s, outcome, message) and write when it is time."""
        with self._lock:
            self._state["progress"] += any(
                self._state.get(name) != fields.get(name) for name in COUNTED & fields.keys()
            )
            self._state.update(fields)
            if force or time.time() - self._written_at >= WRITE_EVERY_S:
                with contextlib.suppress(OSError):
                    self._write()

    def enter(self, activity: str | None) -> None:
        """Note what the main thread does now (a phase of the ledger; None between two): this is progress."""
        self._state["activity"] = activity
        self._state["progress"] += 1

    def rows_done(self, rows: int) -> None:
        """Count finished work inside an activity that takes long: this is progress."""
        self._state["progress"] += rows

    def finish(self, outcome: str, message: str = "") -> None:
        """Write how this rank ended: done, failed, user_error, stopped or preempted."""
        self._ended.set()
        self.update(force=True, outcome=outcome, message=message[:4000], phase="ended", activity=None)

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_EVERY_S):
            with self._lock, contextlib.suppress(OSError):
                if not self._ended.is_set():
                    self._write()

    def _write(self) -> None:
        self._written_at = self._state["heartbeat"] = time.time()
        write_state(self.path, self._state)


def state_path(stage_folder: Path, rank: int) -> Path:
    """Where a rank's state is kept."""
    return stage_folder / "ranks" / f"{rank}.json"


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write a state, whole or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(state, default=str))
    temporary.replace(path)


def read_rank_state(stage_folder: Path, rank: int) -> dict[str, Any] | None:
    """The state of one rank, or None if it has written none, or none that outlived a power cut."""
    return _read(state_path(stage_folder, rank))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        state = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def read_rank_states(stage_folder: Path) -> list[dict[str, Any]]:
    """The states of all ranks that have written one, in rank order."""
    paths = sorted((stage_folder / "ranks").glob("*.json"), key=lambda path: int(path.stem))
    return [state for path in paths if (state := _read(path)) is not None]


def bad_end(states: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """How the first rank that did not end well ended, in words, and the first line of its message; None if none did."""
    ended = next((state for state in states if state.get("outcome") not in (None, "done")), None)
    if ended is None:
        return None
    return str(ended["outcome"]).replace("_", " "), str(ended.get("message") or "").strip().split("\n")[0]


def forget_rank_states(stage_folder: Path, local: Iterable[int], processes: int) -> None:
    """Remove what an earlier attempt said of the ranks of this node, and of ranks beyond today's, stacks included."""
    numbers = {int(path.stem) for path in (stage_folder / "ranks").glob("*.json")}
    for rank in {*local, *(number for number in numbers if number >= processes)}:
        state_path(stage_folder, rank).unlink(missing_ok=True)
        stacks_path(stage_folder, rank).unlink(missing_ok=True)


def close_rank_state(stage_folder: Path, rank: int, outcome: str, message: str) -> None:
    """Say for a rank that has ended without a word, because it was killed, how it ended."""
    state = read_rank_state(stage_folder, rank)
    if state is not None and state["outcome"] is None:
        write_state(state_path(stage_folder, rank), {**state, "outcome": outcome, "message": message})
