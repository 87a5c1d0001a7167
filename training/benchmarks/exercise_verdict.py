"""Running an exercise's tests on what a model wrote, in the sandbox: did they pass, and what did they print."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import replace

from training.benchmarks.exercise_files import Exercise
from training.benchmarks.exercise_languages import RUN, readable
from training.sandbox.runner import Limits, Place, Result, SandboxError, run_programs

COMPILE_CPU_S = 60.0
SCRATCH_MB = 256
_CHANCE = re.compile(r"0x[0-9a-f]{6,}|\b\d+\.\d+ ?m?s\b")
"""What a program prints that no two runs share: addresses and times."""
THREADS = 64
TOLD_LINES, TOLD_CHARACTERS = 50, 4000
"""What the model sees of the tests' output: Aider's first 50 lines, and no line without end."""


def place_of(language: str, sandbox: str, timeout_s: float, memory_mb: int) -> Place:
    """Where the tests of a language run: `timeout_s` of CPU time, compilers a minute each beside it."""
    wall_s = 2 * timeout_s + 2 + (4 * COMPILE_CPU_S if RUN[language].compiled else 0)
    limits = Limits(
        cpu_s=timeout_s,
        compile_cpu_s=COMPILE_CPU_S,
        wall_s=wall_s,
        total_s=wall_s,
        memory_mb=memory_mb,
        scratch_mb=SCRATCH_MB,
        threads=THREADS,
    )
    return Place(sandbox, limits, readable(language))


def run_tests(exercise: Exercise, written: Mapping[str, str], place: Place) -> tuple[bool, str]:
    """Return (whether all tests passed, what they printed) with the model's files in place of the stubs.

    Raises SandboxError where the sandbox fails twice, as in `training.rewards.code_judge`.
    """
    word = f"posttrain-{secrets.token_hex(16)}"
    job = RUN[exercise.language].job(exercise, exercise.files(written), word)
    try:
        (result,) = run_programs(place, [job.run], job.files)
    except SandboxError:
        (result,) = run_programs(place, [job.run], job.files)
    lines = result.stdout.rstrip().splitlines()
    passed = result.ended_well and bool(lines) and lines[-1] == word
    return passed, _told(replace(result, stdout=result.stdout.replace(word, "")))


def _told(result: Result) -> str:
    """What a run printed, cut, and why it was ended if it was; the same for the same failure, for greedy answers."""
    text = "\n".join(part.strip() for part in (result.stdout, result.stderr) if part.strip())
    text = _CHANCE.sub("-", text)
    cut = "\n".join(text.splitlines()[:TOLD_LINES])[:TOLD_CHARACTERS]
    ended = {"time": "The tests did not end in time.", "output": "The tests printed without end."}
    return "\n".join(part for part in (cut, ended.get(result.stopped or "", "")) if part) or "(no output)"
