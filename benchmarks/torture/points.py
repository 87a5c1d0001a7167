"""The points at which a run is killed: changes to the run folder, flushes to disk and phases of the ledger, counted.

`watch` is called in a process of the run before it does anything. An audit hook of the interpreter hears each change
just before it is made, so that a kill falls between any two of them; half of the kills come a moment later instead,
in the middle of a computation. Every flush to disk is noted for the power cut.
"""

import json
import os
import random
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.record import RECORD_NAME

FAULTS, FIRED, COUNTS, SYNCED = "faults.json", "fired.jsonl", "counts.jsonl", "synced.jsonl"
"""Files in the folder of what the torture test writes down; never inside the run folder."""
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate")
NOT_COUNTED = ("/ranks/", "/logs/")
"""Heartbeats and logs come by the clock: counting them would make a point another one each time."""


@dataclass(frozen=True)
class Fault:
    """What is to happen: at the `event`-th point of a rank of a stage, and `delay_s` seconds after it."""

    number: int
    stage: str
    rank: int
    event: int
    delay_s: float
    kind: str


def write_faults(notes: Path, faults: list[Fault]) -> None:
    """Write what is to happen, for the processes of the run to read."""
    (notes / FAULTS).write_text(json.dumps([asdict(fault) for fault in faults]))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of JSON lines; [] where there is none."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a line in one write, which no kill can tear."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(row) + "\n").encode())
    finally:
        os.close(descriptor)


class Points:
    """Counts the points of this process and does what is to happen at one of them.

    A resumed stage has fewer points than the fault may count on: what has not happened by then does when the record is
    written.
    """

    def __init__(self, notes: Path, run_dir: Path, stage: str, rank: int):
        self.notes, self.run_dir, self.stage, self.rank = notes, str(run_dir), stage, rank
        self.count, self.inside = 0, False
        fired = {row["number"] for row in read_lines(notes / FIRED)}
        planned = [Fault(**row) for row in json.loads((notes / FAULTS).read_text())]
        mine = [one for one in planned if (one.stage, one.rank) == (stage, rank) and one.number not in fired]
        self.fault = mine[0] if mine else None

    def point(self, name: str) -> None:
        """One more point is reached."""
        if self.inside:
            return
        self.count += 1
        last_chance = RECORD_NAME in name
        if self.fault is not None and (self.count == self.fault.event or last_chance):
            fault, self.fault = self.fault, None
            if fault.delay_s:
                threading.Timer(fault.delay_s, self.happen, (fault, name)).start()
            else:
                self.happen(fault, name)

    def happen(self, fault: Fault, name: str) -> None:
        """Note the fault, then let it happen."""
        from benchmarks.torture.kinds import KINDS

        self.inside = True
        append(self.notes / FIRED, {**asdict(fault), "at": name, "time": time.time()})
        KINDS[fault.kind](Path(self.run_dir), random.Random(fault.number))
        self.inside = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hear what the interpreter is about to do."""
        if event == "open":
            path, _, flags = arguments
            written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) if isinstance(flags, int) else False
            if written and isinstance(path, str) and self.counts(path):
                self.point(f"open {Path(path).name}")
        elif event in CHANGES and self.counts(str(arguments[0])):
            self.point(f"{event.removeprefix('os.')} {Path(str(arguments[0])).name}")

    def counts(self, path: str) -> bool:
        """Whether a path's changes are points."""
        return path.startswith(self.run_dir) and not any(part in path for part in NOT_COUNTED)

    def finish(self) -> None:
        """Write down how many points this process had."""
        append(self.notes / COUNTS, {"stage": self.stage, "rank": self.rank, "points": self.count})


def note_flushes(notes: Path, points: Points | None) -> None:
    """Write down each file's identity and size when it is flushed to disk; a flush is a point as well."""
    fsync = os.fsync

    def noted(descriptor: Any) -> None:
        number = descriptor if isinstance(descriptor, int) else descriptor.fileno()
        if points is not None:
            points.point("fsync")
        fsync(number)
        status = os.fstat(number)
        append(notes / SYNCED, {"file": status.st_ino, "size": status.st_size, "mtime_ns": status.st_mtime_ns})

    os.fsync = noted


def watch(notes: Path, run_dir: Path, argv: list[str]) -> Points | None:
    """Begin counting in a rank, whose command line is `argv`; other processes have their flushes noted only."""
    points = None
    if "--stage" in argv and "launch" not in argv:
        stage = argv[argv.index("--stage") + 1]
        points = Points(notes, run_dir, stage, int(os.environ.get("RANK", "0")))
        sys.addaudithook(points.audit)
        _count_phases(points)
    note_flushes(notes, points)
    return points


def _count_phases(points: Points) -> None:
    from training.ledger import Ledger

    enter = Ledger.enter

    def counted(ledger: Ledger, phase: str) -> None:
        enter(ledger, phase)
        points.point(phase)

    Ledger.enter = counted  # type: ignore[method-assign]
