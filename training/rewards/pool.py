"""Worker processes that score completions: a stuck or dying one costs the completion it was at, never the run.

Rows are handed out few at a time; every call of a reward has a time limit, after which the worker is killed with all it
started, and replaced. Scores do not depend on the number of workers: a reward sees one completion at a time. Workers
live as long as the pool; the first starts with it, the others when a batch takes long.
"""

import os
import selectors
import sys
import time
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from data.errors import UserError
from training.rewards.worker_process import WorkerProcess

START_LIMIT_S = 300.0
"""How long loading the rewards may take: a shared file system under load is slow."""

MAX_HANDED_OUT = 16
NOT_SCORED = "not scored: too many completions before it could not be"
GROW_AFTER_S = 0.25
"""A batch that takes longer gets another worker, up to the limit."""

OVERSLEPT_S = 1.0


RowsDone = Callable[[int], None]


@dataclass(frozen=True)
class Limits:
    """How many workers, the seconds one call of a reward may take, and the address space of a worker in GB (1e9)."""

    workers: int = 1
    time_limit_s: float = 30.0
    memory_gb: float = 4.0


@dataclass
class Outcome:
    """The rewards of one completion in the order of the stage's, or the error that makes it unscorable."""

    values: list[float | None] = field(default_factory=list)
    error: str | None = None


class WorkerPool:
    """The workers of one rank. Rewards are (name, callable or None, all parameters, least time limit)."""

    def __init__(self, rewards: list[dict[str, Any]], limits: Limits, rows_done: RowsDone = lambda rows: None) -> None:
        """Start the workers; they load the rewards while the caller goes on. `rows_done` hears of finished rows."""
        self._rows_done = rows_done
        self._names = [reward["name"] for reward in rewards]
        self._time_limits = [max(limits.time_limit_s, reward["time_limit_s"]) for reward in rewards]
        self._setup = {"path": sys.path, "rewards": rewards, "memory_bytes": int(limits.memory_gb * 1e9)}
        self._selector = selectors.DefaultSelector()
        self._workers: list[WorkerProcess] = []
        self._close = weakref.finalize(self, _end, self._workers, self._selector, os.getpid())
        self._refused: str | None = None
        self._most = limits.workers
        self._start()

    def close(self) -> None:
        """End the workers; the end of the process does it too."""
        self._close()

    def wait_until_ready(self) -> None:
        """Return once every worker has loaded the rewards; UserError where one cannot."""
        while not all(worker.ready for worker in self._workers):
            self._hear([], deque())

    def score(self, rows: list[list[Any]], max_errors: int | None = None) -> list[Outcome]:
        """Return the outcome of each row of [completion, prompt, columns].

        After more than `max_errors` errors the rest is left unscored, with an error of its own. Raises UserError where
        a reward refuses the data.
        """
        outcomes = [Outcome() for _ in rows]
        waiting = deque(range(len(rows)))
        self._grow_at = time.monotonic() + GROW_AFTER_S
        done = 0
        while waiting or any(worker.rows for worker in self._workers):
            self._hand_out(waiting, rows)
            self._hear(outcomes, waiting)
            finished = len(rows) - len(waiting) - sum(len(worker.rows) for worker in self._workers)
            if finished > done:
                self._rows_done(finished - done)
                done = finished
            if max_errors is not None and sum(each.error is not None for each in outcomes) > max_errors:
                self._give_up(outcomes)
                break
        return outcomes

    def _start(self) -> None:
        worker = WorkerProcess(self._setup, time.monotonic() + START_LIMIT_S)
        self._workers.append(worker)
        self._selector.register(worker.results, selectors.EVENT_READ, worker)

    def _stop(self, worker: WorkerProcess) -> str:
        self._workers.remove(worker)
        self._selector.unregister(worker.results)
        return worker.kill()

    def _hand_out(self, waiting: "deque[int]", rows: list[list[Any]]) -> None:
        if waiting and time.monotonic() > self._grow_at and len(self._workers) < self._most:
            self._start()
            self._grow_at += GROW_AFTER_S
        share = min(MAX_HANDED_OUT, 1 + len(waiting) // (4 * self._most))
        for worker in list(self._workers):
            if not worker.ready or worker.rows or not waiting:
                continue
            if worker.has_died():  # between two batches; no row of this one is to blame
                self._stop(worker)
                self._start()
            else:
                worker.rows = [waiting.popleft() for _ in range(min(share, len(waiting)))]
                worker.at = 0
                worker.deadline = time.monotonic() + self._time_limits[0]
                worker.send([[number, *rows[number]] for number in worker.rows])

    def _hear(self, outcomes: list[Outcome], waiting: "deque[int]") -> None:
        """Wait for messages or the next deadline, and deal with both."""
        timed = [worker for worker in self._workers if worker.rows or not worker.ready]
        before = time.monotonic()
        until = [worker.deadline for worker in timed]
        if waiting and len(self._workers) < self._most:
            until.append(self._grow_at)
        patience = max(0.0, min(until) - before)
        events = self._selector.select(patience)
        # This process itself was stopped for a while, and its workers with it: that time is not theirs.
        overslept = time.monotonic() - before - patience
        if overslept > OVERSLEPT_S:
            for worker in timed:
                worker.deadline += patience + overslept
        for key, _ in events:
            speaker: WorkerProcess = key.data
            messages = speaker.receive()
            if messages is None:
                self._bury(speaker, outcomes, waiting)
            for message in messages or []:
                self._take(speaker, message, outcomes)
            self._raise_refusal()
        now = time.monotonic()
        for worker in [each for each in timed if each in self._workers and each.deadline < now]:
            if worker.rows or not worker.ready:
                self._bury(worker, outcomes, waiting, overdue=True)

    def _take(self, worker: WorkerProcess, message: Any, outcomes: list[Outcome]) -> None:
        if isinstance(message, dict):
            worker.ready = True
            self._refused = message.get("failed")
            return
        number, place, value, error = message
        outcomes[number].values.append(value)
        outcomes[number].error = error
        if error is not None or place + 1 == len(self._names):
            worker.rows.remove(number)
            worker.at = 0
        else:
            worker.at = place + 1
        worker.deadline = time.monotonic() + self._time_limits[worker.at]

    def _bury(
        self, worker: WorkerProcess, outcomes: list[Outcome], waiting: "deque[int]", overdue: bool = False
    ) -> None:
        """Kill a worker, charge the row it was at, give its other rows to others and start another worker."""
        ended = self._stop(worker)
        if not worker.ready:
            how = f"took more than {START_LIMIT_S:.0f} s" if overdue else f"ended with {ended}"
            loaded = ", ".join(self._names)
            raise UserError(f"rewards: a worker {how} while it loaded {loaded}; its output stands above")
        if worker.rows:
            name, limit = self._names[worker.at], self._time_limits[worker.at]
            words = f"TimeLimit: took more than {limit:g} s" if overdue else f"WorkerDied: {ended}"
            outcomes[worker.rows[0]].error = f"{name}: {words}"
            waiting.extendleft(reversed(worker.rows[1:]))
        self._start()

    def _give_up(self, outcomes: list[Outcome]) -> None:
        """Leave the rest unscored: workers in the middle of something are replaced."""
        scored = len(self._names)
        for outcome in outcomes:
            if outcome.error is None and len(outcome.values) < scored:
                outcome.error = NOT_SCORED
        for worker in [each for each in self._workers if each.rows]:
            self._stop(worker)
            self._start()

    def _raise_refusal(self) -> None:
        if self._refused is not None:
            refused, self._refused = self._refused, None
            self.close()
            raise UserError(refused)


def _end(workers: list[WorkerProcess], selector: selectors.BaseSelector, owner: int) -> None:
    """Kill the workers, in the process that started them: a fork of it has only copies of the pipes."""
    if os.getpid() == owner:
        for worker in workers:
            worker.kill()
        workers.clear()
        selector.close()
