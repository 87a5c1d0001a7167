"""Reward `code` beside its golden cases: what tests look like, what is found in a completion, how values compare."""

import json
import math
from types import SimpleNamespace
from typing import Any

import pytest

from data.errors import UserError
from tests.sandbox_marks import needs_sandbox
from training.rewards import REWARDS, code_judge
from training.rewards.code_execution import TIME_LIMIT_S, check_code, code, program_of
from training.rewards.code_inside import encode, spelling
from training.rewards.code_judge import code_limits
from training.rewards.code_tests import CallTest, ScriptTest, StdinTest, parse_tests
from training.rewards.fenced import last_block
from training.rewards.literals import NotALiteral, decode, read_reply, same
from training.sandbox.runner import GRACE_S, Place, Result, SandboxError

VALUES = [
    None, True, 0, -5, 10**30, 1.5, "text\n", b"\x00\xff", [1, [2, {"a": (3,)}]], {1, 2}, frozenset({1, 2}),
    {(1, 2): None, "k": [True]}, 1 + 2j, math.inf, [], {}, set(), (),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_literal_crosses_the_wall_and_keeps_its_type(value: Any) -> None:
    came = decode(json.loads(json.dumps(encode(value))))
    assert (came, type(came)) == (value, type(value))
    assert eval(spelling(value)) == value


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"error": "ValueError"}', "an error"),
        ("true", "no message"),
        ("[" * 100_000, "too deep"),
        ('{"value": {"list": 3}}', "a list that is none"),
        ('{"value": {"object": 3}}', "no literal's name"),
        ('{"value": {"list": [], "set": []}}', "two values at once"),
        ('{"value": {"set": [{"list": []}]}}', "a set of lists"),
        ('{"value": {"bytes": "zz"}}', "no bytes"),
        ('{"value": ' + "9" * 5000 + "}", "a number too long"),
        ('{"value": {"set": [' + ",".join(map(str, range(6000))) + "]}}", "a set too large"),
        ("", "nothing"),
        ('{"value": [1]}', "a bare list"),
    ],
    ids=lambda text: text[:30],
)
def test_reply_that_is_no_value_is_no_answer(line: str, why: str) -> None:
    with pytest.raises(NotALiteral):
        read_reply(line)


@pytest.mark.parametrize(
    ("given", "expected", "equal"),
    [
        (7, 7, True),
        (7.0, 7, True),
        (0.1 + 0.2, 0.3, True),
        (0.3001, 0.3, False),
        (math.nan, math.nan, True),
        (10**400, 1.0, False),
        (True, 1, True),
        ("7", 7, False),
        ((1, 2), [1, 2], True),
        ([1, 2, 3], [1, 2], False),
        ({"a": [0.1 + 0.2]}, {"a": [0.3]}, True),
        ({"a": 1, "b": 2}, {"a": 1}, False),
        (None, 0.0, False),
        ({1, 2}, {2, 1}, True),
        ([1], {1}, False),
    ],
)
def test_values_compare_as_python_has_it_but_for_rounding(given: Any, expected: Any, equal: bool) -> None:
    assert same(given, expected) is equal


def test_tests_are_read_in_every_form() -> None:
    assert parse_tests([{"stdin": "1", "stdout": "2", "call": None, "returns": None}]) == [StdinTest("1", "2")]
    assert parse_tests('[{"call": "f(1)", "returns": "{1, 2}"}]') == [CallTest("f(1)", {1, 2})]
    assert parse_tests([{"call": "f", "args": [1, "a"], "kwargs": {"k": 0.5}, "returns": None}]) == [
        CallTest("f(1, 'a', k=float('0.5'))", None)
    ]
    (script,) = parse_tests(["import math\nfor n in range(3):\n    assert math.isclose(f(n), g(n))"])
    assert isinstance(script, ScriptTest)
    assert script.names == ("f", "g")
    assert parse_tests({"inputs": [["1", "2"]], "outputs": ["3"]}) == [StdinTest("1\n2", "3")]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "at least one test"),
        ("not json", "is no JSON"),
        ({"input": 1}, "give a list"),
        ([{"call": "f(1)"}], "a test has stdin and stdout, call and returns, or script"),
        ([{"call": "f(1", "returns": "1"}], "no Python expression"),
        ([{"call": "f(1)", "returns": "f(1)"}], "no Python literal"),
        ([{"script": "assert f(1"}], "no Python"),
        ([{"script": "assert np.array(f(1)).any()"}], "the script uses np.array"),
        ([{"call": "f", "args": [{1}], "returns": 1}], "JSON serializable"),
    ],
)
def test_tests_that_are_none_are_an_error_and_not_a_wrong_answer(value: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        parse_tests(value)


@pytest.mark.parametrize(
    ("text", "block"),
    [
        ("```python\na\n```", "a\n"),
        ("```\na\n```", "a\n"),
        ("~~~py\na\n~~~", "a\n"),
        ("````python\n```\na\n```\n````", "```\na\n```\n"),
        ("  ```python\n  if x:\n    a\n  ```", "if x:\n  a\n"),
        ("```python\na\n```\n```sh\nb\n```", "a\n"),
        ("```python\na\n```\n```python\nb", "a\n"),
        ("```Python\na\n```", "a\n"),
        ("```python\na", None),
        ("a", None),
    ],
)
def test_block_is_the_last_closed_one_of_the_language(text: str, block: str | None) -> None:
    assert last_block(text, ("python", "py")) == block


def test_block_of_a_hostile_completion_is_found_in_linear_time() -> None:
    assert last_block("```python\n" * 100_000, ("python",)) is None
    assert program_of("```" * 100_000) is None


@needs_sandbox
def test_tests_of_all_kinds_in_one_row_share_the_score() -> None:
    tests = [{"call": "f(2)", "returns": "4"}, "assert f(3) == 9", {"stdin": "", "stdout": "hello"}]
    right = "def f(n):\n    return n * n\nif __name__ == '__main__':\n    print('hello')\n"
    half = "def f(n):\n    return 4\n"
    assert code([right, half, half], [""] * 3, [tests] * 3, partial=True) == [
        1.0,
        pytest.approx(1 / 3),
        pytest.approx(1 / 3),
    ]
    assert code([right, half], [""] * 2, [tests] * 2) == [1.0, 0.0]


@needs_sandbox
def test_every_run_of_a_program_begins_with_an_empty_folder() -> None:
    """A program that leaves a note for its next run finds none."""
    source = "import os\nprint(os.path.exists('note'))\nopen('note', 'w').write('x')\n"
    tests = [{"stdin": "", "stdout": "False"}] * 2
    assert code([source], [""], [tests]) == [1.0]


@needs_sandbox
def test_sandbox_that_fails_is_an_error_and_not_a_wrong_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.sandbox.runner.ENTER", "raise SystemExit('no room')")
    with pytest.raises(SandboxError, match="no room"):
        code(["def f():\n    return 1\n"], [""], [[{"call": "f()", "returns": "1"}]])


@pytest.mark.parametrize("stuck_at_first", [True, False])
def test_worker_s_time_limit_lies_beyond_the_longest_that_the_sandboxes_may_take(
    stuck_at_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tests of every kind; each sandbox lasts as long as it may, and all of the waiting that may count is told."""
    now, tries = 0.0, 0

    class Slowest:
        def __init__(self, place: Place, *job: Any) -> None:
            self.limits = place.limits

        def __enter__(self) -> "Slowest":
            return self

        def __exit__(self, *exception: object) -> None: ...

        def results(self, within_s: float | None = None) -> list[Result]:
            nonlocal now, tries
            if within_s is not None:
                now += within_s
                return []
            now, tries = now + self.limits.longest_s + GRACE_S, tries + 1
            if stuck_at_first and tries % 2:
                raise SandboxError("stuck")
            return [Result(1, None, "", "", 0.0, 0.0, 0, waited_s=self.limits.waiting_s_counted)]

    monkeypatch.setattr(code_judge, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(code_judge, "Sandbox", Slowest)
    monkeypatch.setattr(code_judge, "run_programs", lambda *job: Slowest(*job).results())
    tests = parse_tests([{"stdin": "", "stdout": "1"}, {"call": "f()", "returns": "1"}, {"script": "assert f() == 1"}])
    assert not any(code_judge.judge("", tests, Place("namespaces", code_limits(30, 64)), stop_at_failure=False))
    assert tries == (6 if stuck_at_first else 3)
    assert now < REWARDS["code"].time_limit_s == TIME_LIMIT_S


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"timeout_s": 0}, "timeout_s=0 is not accepted; give a number, 0.1 to 30"),
        ({"timeout_s": "5"}, "timeout_s='5'"),
        ({"memory_mb": 1}, "64 or more"),
        ({"partial": 1}, "use true or false"),
        ({"sandbox": "docker"}, "use namespaces, landlock, seccomp"),
    ],
)
def test_parameters_out_of_range_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_code({**REWARDS["code"].parameters, **given})
