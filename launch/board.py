"""What a run is doing, from its files alone: every stage with its state, progress and warnings.

Read by `posttrain run` for its own terminal and by `posttrain status --watch` from anywhere that sees the folder.
Clocks of hosts differ, so whether a rank still lives is told from changes that this process sees by its own clock; only
a rank of this host can be asked directly.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from data.errors import UserError
from launch.running import may_live
from launch.status import headline, host_of, runners
from training.alarms import ALARMS, in_brief
from training.balance import balance_words, is_straggling
from training.json_lines import whole_lines
from training.rank_state import bad_end, read_rank_states
from training.record import read_record
from training.run_folder import RunFolder

SILENT_AFTER_S = 90.0
"""A heartbeat comes every five seconds; NFS may show a changed file a minute late."""
WAITING, RUNNING, DONE, LEFT = "waiting", "running", "done", "unfinished"


@dataclass(frozen=True)
class Standing:
    """One stage as it stands. `eta_s` is likely, low and high seconds left; `note` what a record or a bad end says."""

    name: str
    state: str
    phase: str = ""
    step: int | None = None
    total: int | None = None
    eta_s: tuple[float, float, float] | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    tokens_per_s: float | None = None
    note: str = ""
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Board:
    """A run at one moment."""

    name: str
    stages: list[Standing]
    running: bool

    @property
    def done(self) -> bool:
        """Whether every stage has its record."""
        return bool(self.stages) and all(stage.state == DONE for stage in self.stages)

    @property
    def warnings(self) -> list[str]:
        """Those of all stages, in pipeline order: they stay for as long as the run is looked at."""
        return [f"{stage.name}: {warning}" for stage in self.stages for warning in stage.warnings]


class BoardReader:
    """Reads a run folder again and again; what has finished is read once."""

    def __init__(self, run: RunFolder, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._clock = run, clock
        self._done: dict[Path, Standing] = {}
        self._beats: dict[tuple[Path, int], tuple[float, float]] = {}  # heartbeat, when we saw it change

    def read(self) -> Board:
        """The run now; a run that has not written its pipeline yet has no stages."""
        try:
            resolved = self._run.read_resolved() or {}
        except UserError:  # being replaced, or broken: the next look may tell
            resolved = {}
        running = bool(runners(self._run))
        folders = resolved.get("folders") or {}
        stages = [self._standing(name, self._run.path / folder, running) for name, folder in folders.items()]
        return Board(str(resolved.get("name", self._run.path.name)), stages, running)

    def _standing(self, name: str, folder: Path, running: bool) -> Standing:
        if folder in self._done:
            return self._done[folder]
        try:
            record = read_record(folder)
        except UserError as error:
            return Standing(name, "unreadable", note=str(error))
        if record is None:
            return self._unfinished(name, folder, running)
        facts = (record.get("ledger") or {}).get("balance")
        warnings = (*alarms(folder), *straggler(facts, read_rank_states(folder)))
        found = Standing(name, DONE, note=headline(record), warnings=warnings)
        self._done[folder] = found
        return found

    def _unfinished(self, name: str, folder: Path, running: bool) -> Standing:
        states = read_rank_states(folder) if folder.is_dir() else []
        if not states:
            return Standing(name, LEFT if folder.is_dir() and not running else WAITING)
        first = states[0]
        steps = [state["step"] for state in states if state.get("step") is not None]
        ended, message = bad_end(states) or (None, "")
        silent = self._silent(folder, states)
        eta = first.get("eta_s")
        return Standing(
            name,
            _state(states, ended, folder, running),
            str(first.get("activity") or first.get("phase") or ""),
            min(steps, default=None),
            first.get("max_steps"),
            (eta[0], eta[1], eta[2]) if isinstance(eta, list) and len(eta) == 3 else None,
            first.get("metrics") or {},
            first.get("tokens_per_s"),
            message,
            (*alarms(folder), *straggler(first.get("balance"), states), *silent),
        )

    def _silent(self, folder: Path, states: list[dict[str, Any]]) -> list[str]:
        """Ranks whose heartbeat has not changed for long while we looked."""
        found, now = [], self._clock()
        for rank, state in enumerate(states):
            beat = float(state.get("heartbeat") or 0.0)
            before = self._beats.get((folder, rank))
            if before is None or before[0] != beat:
                self._beats[folder, rank] = (beat, now)
            elif state.get("outcome") is None and now - before[1] >= SILENT_AFTER_S:
                found.append(f"rank {rank} on {state.get('host')} has been silent for {now - before[1]:.0f} s")
        return found


def _state(states: list[dict[str, Any]], ended: str | None, folder: Path, running: bool) -> str:
    """running, or how it ended: the outcome of a rank that did not end well; `unfinished` where nobody works on it."""
    if ended is not None:
        return ended
    alive = running or any(may_live(state, folder, rank) for rank, state in enumerate(states))
    return RUNNING if alive else LEFT


def alarms(folder: Path) -> list[str]:
    """What detectors found in a stage, one sentence each."""
    return [in_brief(alarm) for alarm in whole_lines(folder / ALARMS)]


def straggler(facts: Mapping[str, Any] | None, states: list[dict[str, Any]]) -> list[str]:
    """A sentence where one rank is often and much slower than the others."""
    if facts is None or not is_straggling(facts):
        return []
    return [f"{balance_words(facts, host_of(states, facts['slowest_rank']))}: the others wait for it"]
