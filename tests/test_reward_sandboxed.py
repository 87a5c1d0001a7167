"""Rewards that run programs, where they run in earnest: in a reward worker, which is limited and killed itself."""

import time
from pathlib import Path

import pytest

from data.errors import UserError
from tests.sandbox_marks import needs_sandbox
from tests.test_sandbox import _running, _until
from training.config import RewardSpec
from training.rewards.pool import Limits
from training.rewards.scoring import Scorer

pytestmark = needs_sandbox
TESTS = [[{"call": "f(3)", "returns": "9"}]]


def test_code_in_a_worker_scores_errs_and_is_not_bound_by_the_worker_s_own_limits() -> None:
    """The worker's time limit is 0.05 s and its memory small; the sandbox has limits of its own."""
    right, wrong = "def f(n):\n    x = bytearray(10**8)\n    return n * n\n", "def f(n):\n    return n\n"
    scorer = Scorer([RewardSpec(name="code")], 1.0, Limits(time_limit_s=0.05, memory_gb=0.4))
    try:
        scores = scorer.score(
            [right, wrong, right, right], [""] * 4, {"tests": [*TESTS, *TESTS, None, [{"call": "f("}]]}
        )
    finally:
        scorer.close()
    assert scores.total == [1.0, 0.0, None, None]
    assert [error is None for error in scores.errors] == [True, True, True, False]
    assert scores.errors[3] is not None
    assert "a test has stdin and stdout" in scores.errors[3]


def test_program_of_a_worker_that_is_killed_dies_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # a killed worker leaves its empty folder there
    program = "import os, sys\nopen('mark', 'w').close()\nos.execv('/bin/sleep', ['/bin/sleep', '@'])\n"
    mark = f"86421{time.monotonic_ns()}"
    scorer = Scorer([RewardSpec(name="code", params={"timeout_s": 30})], 1.0)
    pool = scorer.start()
    pool.wait_until_ready()
    (worker,) = pool._workers
    worker.send([[0, program.replace("@", mark), "", {"tests": TESTS[0]}]])
    assert _until(lambda: _running(mark) == 1)
    scorer.close()
    assert _until(lambda: _running(mark) == 0)


def test_stage_whose_level_this_machine_lacks_is_refused_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    from training.stages import check_rewards

    stage = SimpleNamespace(rewards=[RewardSpec(name="code")], max_error_rate=0.05)
    check_rewards(stage)
    monkeypatch.setattr("training.sandbox.levels.why_not", lambda level: "not here")
    with pytest.raises(UserError, match="namespaces cannot be had on this machine: not here"):
        check_rewards(stage)


def test_nothing_is_left_in_the_temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training.rewards.code_execution import code

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert code(["print(open('f', 'w').write('x'))"], [""], [[{"stdin": "", "stdout": "1"}]]) == [1.0]
    assert list(tmp_path.iterdir()) == []
