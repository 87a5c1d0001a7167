"""Every hostile program, at every level that this machine has: no harm, and a score of 0."""

import re
from collections.abc import Iterator

import pytest

from tests.hostile_harness import Machine, attack, machine
from tests.hostile_programs import PROGRAMS, Hostile
from tests.hostile_report import DOCUMENT
from training.sandbox.levels import why_not

# What the system call filter alone does not keep out; its level says so.
NEEDS_FILES_CLOSED = ("files", "the machine and others", "memory and disk")
NAMED = [pytest.param(each, id=f"{each.family}-{each.tries}".replace(" ", "_")) for each in PROGRAMS]


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with machine(tmp_path_factory.mktemp("outside")) as around:
        yield around


def need(level: str) -> None:
    """Skip where this machine cannot give a level; the reason is the probe's."""
    reason = why_not(level)
    if reason is not None:
        pytest.skip(f"sandbox level {level}: {reason}")


@pytest.mark.parametrize("hostile", NAMED)
def test_hostile_program_in_namespaces_does_no_harm_and_scores_nothing(
    hostile: Hostile, target: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("namespaces")
    assert attack(hostile, target, "namespaces", monkeypatch) == 0.0


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("hostile", [each for each in NAMED if each.values[0].family not in ("cheats", "output")])
def test_hostile_program_under_landlock_does_no_harm_and_scores_nothing(
    hostile: Hostile, target: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("landlock")
    assert attack(hostile, target, "landlock", monkeypatch) == 0.0


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.parametrize("hostile", [each for each in NAMED if each.values[0].family not in NEEDS_FILES_CLOSED])
def test_hostile_program_under_the_filter_alone_harms_no_process_and_reaches_no_network(
    hostile: Hostile, target: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("seccomp")
    assert attack(hostile, target, "seccomp", monkeypatch) == 0.0


@pytest.mark.parametrize("level", ["namespaces", "landlock"])
def test_honest_program_in_the_same_place_scores_full_marks(
    level: str, target: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the tests can be passed there, by a program that knows the answer."""
    from tests.hostile_harness import TOKEN

    need(level)
    source = f"def token():\n    return {TOKEN!r}\nif __name__ == '__main__':\n    print(token())\n"
    assert attack(Hostile("cheats", "answers", source), target, level, monkeypatch) == 1.0


def test_corpus_has_the_families_that_the_report_counts() -> None:
    listed = re.findall(r"^\| [a-z ]+ \| (.+?) \| .*; 0 \| .*; 0 \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert listed == [each.tries for each in PROGRAMS]
    families = [each.family for each in PROGRAMS]
    assert len(PROGRAMS) >= 40
    assert len({each.tries for each in PROGRAMS}) == len(PROGRAMS)
    assert {"processes", "signals", "network", "files", "cheats"} <= set(families)
