"""Judging a program by its tests, from outside: the sandbox gives values and texts, the decision is made here.

Scripts of asserts run in a second sandbox, with the program's functions as remote calls (`code_inside.py`): no test
ever shares an interpreter with the program.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from training.rewards.code_tests import CallTest, ScriptTest, StdinTest, Test
from training.rewards.literals import NotALiteral, read_reply, same
from training.sandbox.runner import (
    GRACE_S,
    MOST_WAITING,
    Limits,
    Place,
    Run,
    Sandbox,
    SandboxError,
    python_command,
    run_programs,
)

INSIDE = Path(__file__).with_name("code_inside.py").read_text(encoding="utf-8")
PROGRAM = "program.py"
LAST_WORDS_S = 1.0
"""How long a program may take to end once its tests have."""
SHORTEST_S = 0.5
"""What tests have at least, also where those before them took all the time."""


@dataclass
class _Time:
    """When all tests of one program must have ended: `until`, put off by its waiting for a core to `latest` at most."""

    until: float
    latest: float

    def place(self, place: Place) -> Place:
        """`place`, with total limits of what is left."""
        now = time.monotonic()
        left = max(SHORTEST_S, self.until - now)
        waiting = max(0.0, self.latest - now - left)
        return replace(place, limits=replace(place.limits, total_s=left, waiting_s=waiting))


def judge(program: str, tests: Sequence[Test], place: Place, stop_at_failure: bool) -> list[bool]:
    """Return which tests `program` passes; with `stop_at_failure` those behind the first failure count as failed.

    All tests together have `place.limits.total_s` seconds. Raises SandboxError where the sandbox fails twice: on a busy
    machine a start in thousands does (seen: pivot_root refused for no reason found), and that is no verdict.
    """
    began = time.monotonic()
    clock = _Time(began + place.limits.total_s, began + place.limits.longest_s)
    passed: dict[int, bool] = {}
    for kind, judge_kind in KINDS:
        places = [number for number, test in enumerate(tests) if isinstance(test, kind)]
        if not places or (stop_at_failure and not all(passed.values())):
            continue
        chosen = [tests[number] for number in places]
        try:
            found, waited_s = judge_kind(program, chosen, clock.place(place), stop_at_failure)
        except SandboxError:
            found, waited_s = judge_kind(program, chosen, clock.place(place), stop_at_failure)
        clock.until += waited_s
        passed.update(zip(places, found, strict=True))
    return [passed.get(number, False) for number in range(len(tests))]


def longest_s(limits: Limits) -> float:
    """The wall time within which `judge` has returned or raised, however busy the machine is.

    Each kind of test may be tried twice, and each sandbox may overrun its limits by GRACE_S before it counts as stuck.
    """
    return limits.longest_s + 2 * len(KINDS) * (SHORTEST_S + 2 * LAST_WORDS_S + GRACE_S)


Judged = tuple[list[bool], float]
"""Which tests were passed, and the seconds that the program waited for a core."""


def _judge_stdin(program: str, tests: list[Any], place: Place, stop_at_failure: bool) -> Judged:
    command = python_command(PROGRAM)
    runs = [Run(command, stdin=test.stdin) for test in tests]
    results = run_programs(place, runs, {PROGRAM: program}, stop_at_failure)
    found = [
        result.ended_well and _text(result.stdout) == _text(test.stdout)
        for result, test in zip(results, tests, strict=False)
    ]
    return found + [False] * (len(tests) - len(found)), sum(result.waited_s for result in results)


def _judge_calls(program: str, tests: list[Any], place: Place, stop_at_failure: bool) -> Judged:
    questions = "".join(json.dumps(test.expression) + "\n" for test in tests)
    run = Run(_inside("program", PROGRAM), stdin=questions)
    (result,) = run_programs(place, [run], {PROGRAM: program, "inside.py": INSIDE})
    lines = result.stdout.split("\n")
    return [_is_answered(lines[number : number + 1], test) for number, test in enumerate(tests)], result.waited_s


def _is_answered(lines: list[str], test: CallTest) -> bool:
    try:
        return bool(lines) and same(read_reply(lines[0]), test.returns)
    except NotALiteral:
        return False


def _judge_scripts(program: str, tests: list[Any], place: Place, stop_at_failure: bool) -> Judged:
    """Two sandboxes and two pipes between them: the scripts ask, the program answers.

    The scripts have time for all that the program may take: when its time is up, its answers end. Its wall time goes on
    while they compute, or wait for a core.
    """
    answers, answer = os.pipe()
    asked, ask = os.pipe()
    scripts = json.dumps([{"script": test.script, "names": test.names} for test in tests])
    asking = Run(_inside("tests", "tests.json"), more_fds=(answers, ask))
    answering = Run(_inside("program", PROGRAM), stdin_fd=asked, stdout_fd=answer)
    with (
        Sandbox(_patient(place), [asking], {"inside.py": INSIDE, "tests.json": scripts}) as scripts_run,
        Sandbox(place, [answering], {"inside.py": INSIDE, PROGRAM: program}) as program_run,
    ):
        (verdict,) = scripts_run.results()
        ended = program_run.results(within_s=LAST_WORDS_S)  # raises if it never ran: that is no answer to a test
    waited_s = sum(result.waited_s for result in ended)
    if not verdict.ended_well:
        return [False] * len(tests), waited_s
    return [passed is True for passed in json.loads(verdict.stdout)], waited_s


def _patient(place: Place) -> Place:
    """`place` with somewhat more wall time than its programs have where they wait for a core as long as that counts."""
    limits = place.limits
    wall_s, total_s = (1 + MOST_WAITING) * limits.wall_s_each, limits.longest_s
    more = replace(limits, wall_s=wall_s + LAST_WORDS_S, total_s=total_s + LAST_WORDS_S, waiting_s=0.0)
    return replace(place, limits=more)


KINDS = ((StdinTest, _judge_stdin), (CallTest, _judge_calls), (ScriptTest, _judge_scripts))
"""The kinds of tests in the order in which they are judged."""


def _inside(part: str, file: str) -> list[str]:
    return python_command("inside.py", part, file)


def _text(output: str) -> list[str]:
    """Lines for comparison: white space at the ends of lines and empty lines at the end do not matter."""
    return [line.rstrip() for line in output.rstrip().split("\n")]


def code_limits(timeout_s: float, memory_mb: int) -> Limits:
    """The limits of a program under test: `timeout_s` of CPU time a run, five times that and 10 s for all tests."""
    return Limits(cpu_s=timeout_s, total_s=5 * timeout_s + 10, memory_mb=memory_mb)
