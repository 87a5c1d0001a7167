"""The report of the hostile corpus in docs/sandbox.md: `python -m tests.hostile_report` runs it, writes the table."""

import re
import tempfile
from pathlib import Path

import pytest

from tests.hostile_harness import Machine, attack, machine
from tests.hostile_programs import PROGRAMS, Hostile
from training.sandbox.levels import why_not
from training.sandbox.runner import Result

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "sandbox.md"
MARK = "<!-- hostile-report -->\n"
LEVELS = ("namespaces", "landlock")


def row(hostile: Hostile, cells: list[str]) -> str:
    """One line of the table."""
    return f"| {hostile.family} | {hostile.tries} | {' | '.join(cells)} |"


def outcome(score: float | None, results: list[Result]) -> str:
    """How a program ended, in words."""
    first = results[0]
    if first.stopped is not None:
        how = f"killed: {first.stopped}"
    elif first.code < 0:
        how = f"signal {-first.code}"
    elif raised := re.search("the program ended with ([A-Za-z]+)", first.stdout):
        how = raised[1]
    else:
        how = "refused" if "name 'token' is not defined" in first.stdout else "no right answer"
    return f"{how}; {score:g}"


def write() -> None:
    """Run every program at every level and write the table behind the mark."""
    held = [level for level in LEVELS if why_not(level) is None]
    assert held == list(LEVELS), f"this machine has {held} alone"
    head = " | ".join(f"`{level}`" for level in LEVELS)
    lines = [f"| Family | Tries | {head} |", "|---|---|" + "---|" * len(LEVELS)]
    with tempfile.TemporaryDirectory() as folder, machine(Path(folder)) as target:
        lines += [row(hostile, [cell(hostile, target, level) for level in LEVELS]) for hostile in PROGRAMS]
    text = DOCUMENT.read_text(encoding="utf-8")
    DOCUMENT.write_text(text.partition(MARK)[0] + MARK + "\n" + "\n".join(lines) + "\n", encoding="utf-8")


def cell(hostile: Hostile, target: Machine, level: str) -> str:
    """Attack once; an AssertionError of the harness means harm."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        score = attack(hostile, target, level, monkeypatch)
        return outcome(score, target.results)


if __name__ == "__main__":
    write()
