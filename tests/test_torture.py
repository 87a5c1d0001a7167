"""The short form of the torture test: ten kills at random points of a tiny pipeline, which ends as the untouched one.

The long form, and two ranks under DeepSpeed, is `python -m benchmarks.torture` (docs/resume.md).
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.torture.damage import all_is_on_disk, cut_power
from benchmarks.torture.points import SYNCED, append
from benchmarks.torture.schedule import REACH, schedule

ROOT = Path(__file__).resolve().parent.parent
KILLS = 10


@pytest.mark.torture
@pytest.mark.timeout(1200)
def test_torture_ten_kills_end_as_an_untouched_run(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.torture", "--kills", str(KILLS), "--per-run", "16"]
    command += ["--out", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["kills"] >= KILLS
    assert (found["lost"], found["differences"]) == ([], [])
    assert len({kill["stage"] for life in found["lives"] for kill in life["kills"]}) >= 3


def test_schedule_is_the_seed_s_and_stays_within_its_stages() -> None:
    points = {("sft", 0): 40, ("sft", 1): 30, ("evaluate-base", 0): 4}
    kinds = ["one", "two", "three"]
    faults = schedule(points, kinds, 60, first=7, seed=3)
    assert faults == schedule(points, kinds, 60, first=7, seed=3) != schedule(points, kinds, 60, first=7, seed=4)
    assert [fault.number for fault in faults] == list(range(7, 67))
    assert {fault.kind for fault in faults} == set(kinds)
    assert all(1 <= fault.event <= max(1, REACH * points[fault.stage, fault.rank]) for fault in faults)
    assert {(fault.stage, fault.rank) for fault in faults} == set(points)


def test_power_cut_takes_only_what_nobody_flushed(tmp_path: Path) -> None:
    """Of ten files that nobody flushed some lose their end; a flushed one keeps all, its later end may go."""
    import random

    run, notes = tmp_path / "run", tmp_path / "notes"
    run.mkdir()
    notes.mkdir()
    flushed, grown = run / "flushed", run / "grown"
    flushed.write_bytes(b"x" * 100)
    grown.write_bytes(b"y" * 100)
    all_is_on_disk([run], notes)
    with grown.open("ab") as sink:
        sink.write(b"z" * 100)
    for number in range(10):
        (run / f"new{number}").write_bytes(b"n" * 100)
    append(notes / SYNCED, {"file": 0, "size": 0, "mtime_ns": 0})
    cut_power([run], notes, random.Random(2))
    assert flushed.read_bytes() == b"x" * 100
    assert grown.read_bytes()[:100] == b"y" * 100
    assert {path.read_bytes() for path in run.glob("new*")} > {b"n" * 100}
