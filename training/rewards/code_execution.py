"""Reward `code`: does the model's Python pass the row's tests? Run in the sandbox, judged outside of it.

The program is the last closed ```python block (or one that names no language) of what the model says beside its
thinking; without any fence, all of it. Deliberate choices:

1. A program passes or fails; `partial: true` gives the share of tests passed, which rewards special cases.
2. Expected values never enter the sandbox, and comparisons use builtin types outside it (`code_judge`), so a program
   cannot learn, override or forge a verdict. It can guess: a test that expects True is passed by a constant.
3. Limits are of CPU time, so that a busy machine does not decide; sleeping is limited by wall time, in which waiting
   for a core does not count (`training.sandbox.runner.MOST_WAITING`).
4. Programs have Python's standard library and nothing else, no network and one process.

After the verifiable code rewards of DeepSeek-R1 (arXiv 2501.12948, 2.2.2) and AlphaCode's tests (arXiv 2203.07814).
"""

from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from training.rewards.code_judge import code_limits, judge, longest_s
from training.rewards.code_tests import parse_tests
from training.rewards.extract import visible_text
from training.rewards.fenced import has_fence, last_block
from training.sandbox.levels import check_level, require_level
from training.sandbox.runner import Place

PARAMETERS = {"timeout_s": 5, "memory_mb": 512, "partial": False, "sandbox": "namespaces"}
MAX_TIMEOUT_S, MIN_MEMORY_MB = 30, 64
TIME_LIMIT_S = longest_s(code_limits(MAX_TIMEOUT_S, MIN_MEMORY_MB)) + 10.0
"""When a worker counts as stuck: beyond every limit that the sandboxes keep themselves."""

LANGUAGES = ("python", "py", "python3")


def code(
    completions: list[str],
    prompts: list[str],
    tests: list[Any],
    timeout_s: float = 5,
    memory_mb: int = 512,
    partial: bool = False,
    sandbox: str = "namespaces",
    **columns: Any,
) -> list[float | None]:
    """Return 1.0 where the completion's program passes the tests of the column `tests`, 0.0 where not, None where it
    is null.

    Raises ValueError for tests that are none, SandboxError where the sandbox fails, UserError where this machine cannot
    give the level that `sandbox` names.
    """
    require_level("code", sandbox)
    place = Place(sandbox, code_limits(timeout_s, memory_mb))
    rows = zip(completions, tests, strict=True)
    return [None if given is None else _score(completion, given, place, partial) for completion, given in rows]


def check_code(parameters: Mapping[str, Any]) -> None:
    """Raise UserError for limits out of range and unknown sandbox levels."""
    check_number("code", parameters, "timeout_s", 0.1, MAX_TIMEOUT_S)
    check_number("code", parameters, "memory_mb", MIN_MEMORY_MB, None)
    if not isinstance(parameters["partial"], bool):
        raise UserError(f"reward code: partial={parameters['partial']!r} is not accepted; use true or false")
    check_level("code", parameters["sandbox"])


def check_number(reward: str, parameters: Mapping[str, Any], name: str, least: float, most: float | None) -> None:
    """Raise UserError unless a parameter is a number from `least` to `most`."""
    value = parameters[name]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or value < least or (most is not None and value > most):
        accepted = f"{least:g} or more" if most is None else f"{least:g} to {most:g}"
        raise UserError(f"reward {reward}: {name}={value!r} is not accepted; give a number, {accepted}")


def program_of(completion: str) -> str | None:
    """Return the program of a completion, None if it has none."""
    text = visible_text(completion, prompt="")
    block = last_block(text, LANGUAGES)
    if block is None and not has_fence(text):
        block = text
    return block if block and block.strip() else None


def _score(completion: str, given: Any, place: Place, partial: bool) -> float:
    tests = parse_tests(given)
    program = program_of(completion)
    if program is None:
        return 0.0
    passed = judge(program, tests, place, stop_at_failure=not partial)
    return sum(passed) / len(passed) if partial else float(all(passed))


def require_code(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless this machine can give the sandbox level."""
    require_level("code", parameters["sandbox"])
