"""Reward workers: whatever a reward does to its process costs its own completion, and never the run."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from tests.own_rewards import own
from training.config import RewardSpec
from training.environment import available_cores
from training.rewards.pool import Limits
from training.rewards.scoring import RewardErrors, Scorer

SHORT = Limits(workers=2, time_limit_s=1.0, memory_gb=2.0)


def scorer(*specs: Any, limits: Limits = SHORT, max_error_rate: float = 1.0) -> Scorer:
    return Scorer([RewardSpec.model_validate(spec) for spec in specs], max_error_rate, limits)


def score(judge: Scorer, *completions: str, **columns: Any) -> tuple[list[float | None], list[str | None]]:
    scores = judge.score(list(completions), ["q"] * len(completions), columns)
    return scores.total, scores.errors


@pytest.fixture(scope="module")
def hostile() -> Any:
    """One scorer for all that is done to its workers: each test also shows that the one before left it usable."""
    judge = scorer(own("hostile"))
    yield judge
    judge.close()


@pytest.mark.parametrize(
    ("act", "error"),
    [
        ("sleep", "hostile: TimeLimit: took more than 1 s"),
        ("spin", "hostile: TimeLimit: took more than 1 s"),
        ("deaf", "hostile: TimeLimit: took more than 1 s"),
        ("exit", "hostile: SystemExit: 0"),
        ("vanish", "hostile: WorkerDied: exit code 0"),
        ("segfault", "hostile: WorkerDied: signal SIGSEGV"),
        ("memory 8000000000", "hostile: MemoryError: "),
        ("recurse", "hostile: RecursionError: maximum recursion depth exceeded"),
        ("close", "hostile: WorkerDied"),
    ],
)
def test_a_reward_that_harms_its_worker_costs_its_own_completion(hostile: Scorer, act: str, error: str) -> None:
    total, errors = score(hostile, "fine", act, "fine", "fine")
    assert total == [1.0, None, 1.0, 1.0]
    assert [each is None for each in errors] == [True, False, True, True]
    assert (errors[1] or "").startswith(error)


@pytest.mark.parametrize("act", ["print", "signals"])
def test_a_reward_that_prints_or_gets_a_signal_keeps_its_score(hostile: Scorer, act: str) -> None:
    """A preemption signals every process of a job step; the scores under way must not be lost to it."""
    assert score(hostile, act, "fine") == ([1.0, 1.0], [None, None])


def test_what_a_stuck_reward_started_is_killed_with_it(hostile: Scorer, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    score(hostile, f"child {note}")
    pid, deadline = int(note.read_text()), time.monotonic() + 10
    while is_alive(pid) and time.monotonic() < deadline:  # the kernel takes a moment to end what was killed
        time.sleep(0.05)
    assert not is_alive(pid)


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie nobody reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_scores_do_not_depend_on_the_number_of_workers() -> None:
    completions = ["word " * (n % 7) for n in range(60)]
    found = []
    for workers in (1, 3):
        judge = scorer(own("words"), {"name": "format"}, limits=Limits(workers, 30.0, 2.0))
        found.append(judge.score(completions, ["q"] * 60, {}).per_reward)
        judge.close()
    assert found[0] == found[1]
    assert found[0]["words"] == [float(n % 7) for n in range(60)]


def test_workers_import_no_torch() -> None:
    """`answer` gives 1, `torch_is_loaded` must give 0."""
    assert score(scorer({"name": "answer"}, own("torch_is_loaded")), "7", answer=["7"]) == ([1.0], [None])


def test_a_batch_that_must_stop_the_run_does_not_wait_for_every_time_limit() -> None:
    """Of 40 completions 2 may fail; the third error ends it: at most 2 rounds of two stuck workers, not 20."""
    judge = scorer(own("hostile"), max_error_rate=0.05)
    began = time.monotonic()
    with pytest.raises(RewardErrors, match="TimeLimit"):
        score(judge, *["sleep"] * 40)
    assert time.monotonic() - began < 15


def test_a_scorer_goes_on_after_a_batch_that_was_broken_off() -> None:
    judge = scorer(own("hostile"), max_error_rate=0.05)
    with pytest.raises(RewardErrors):
        score(judge, *["vanish"] * 20)
    judge.max_error_rate = 1.0
    assert score(judge, *["fine"] * 20)[0] == [1.0] * 20


def test_own_function_gets_the_columns_and_parameters_it_names() -> None:
    judge = scorer(own("longer_than", margin=2))
    assert score(judge, "abcd", "abcd", label=[1, 2], other=[None, None])[0] == [1.0, 0.0]
    with pytest.raises(UserError, match="reward longer_than needs the column 'label'; the data has other"):
        score(judge, "abcd", other=[1])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"name": "x", "callable": "tests.own_rewards:absent", "version": 1}, "defines no function absent"),
        ({"name": "x", "callable": "tests.no_such_file:f", "version": 1}, "there is no module tests.no_such_file"),
        (own("words", limit=3), "takes no parameter limit"),
    ],
)
def test_own_function_that_cannot_be_used_is_refused(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        scorer(spec).start().wait_until_ready()


def test_own_module_that_fails_to_import_is_refused_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_written.py").write_text("raise RuntimeError('not yet')\ndef f(completions, prompts): ...\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="RuntimeError: not yet"):
        scorer({"name": "x", "callable": "half_written:f", "version": 1}).start().wait_until_ready()


def test_workers_die_with_their_parent_even_when_it_is_killed(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    code = f"""
from training.config import RewardSpec
from training.rewards.scoring import Scorer
spec = RewardSpec(name="hostile", callable="tests.own_rewards:hostile", version=1)
Scorer([spec], 1.0).score(["child {note}"], ["q"], {{}})
"""
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=Path(__file__).parent.parent)
    for _ in range(600):
        if note.is_file() and note.read_text():
            break
        time.sleep(0.05)
    stuck_worker = int(Path(f"/proc/{note.read_text()}/stat").read_text().rpartition(")")[2].split()[1])
    assert is_alive(stuck_worker)
    parent.kill()
    parent.wait()
    for _ in range(100):
        if not is_alive(stuck_worker):
            break
        time.sleep(0.05)
    assert not is_alive(stuck_worker)
    os.kill(int(note.read_text()), signal.SIGKILL)


def test_throughput_is_counted() -> None:
    judge = scorer({"name": "format"})
    score(judge, "<answer>7</answer>", "7")
    assert judge.num_scored == 2
    assert judge.seconds > 0


def expressions(batch: int) -> tuple[list[str], list[str]]:
    """A round of 32 prompts x 8 completions that need math-verify: all spelled differently, every second right."""
    golds, completions = [], []
    for prompt in range(32):
        a, b = 2 + prompt + 40 * batch, 3 + prompt % 29
        for n in range(8):
            golds.append(f"\\frac{{{a}}}{{\\sqrt{{{b}}}}}")
            top = (a + n % 2) * (n + 1)
            completions.append(f"hence \\boxed{{\\frac{{{top}\\sqrt{{{b}}}}}{{{b * (n + 1)}}}}}")
    return golds, completions


@pytest.mark.slow
@pytest.mark.alone
def test_256_completions_through_math_verify_take_about_a_second_once_warm() -> None:
    """On two cores; the best of four batches, and twice the aim of 1 s, so that a busy machine does not decide."""
    if os.getloadavg()[0] > 1.5 * available_cores():
        pytest.skip("other work runs on these cores: the figure would be its")
    judge = scorer({"name": "answer"}, limits=Limits(2, 30.0, 4.0))
    seconds = []
    for batch in range(5):
        golds, completions = expressions(batch)
        began = time.perf_counter()
        assert score(judge, *completions, answer=golds)[0] == [1.0, 0.0] * 128
        seconds.append(time.perf_counter() - began)
    print("seconds a batch:", [round(each, 3) for each in seconds])
    assert min(seconds[1:]) < 2.0


def test_scoring_tells_of_every_completion_it_has_finished() -> None:
    """So that the hang doctor sees a long batch get on; one that cannot be scored counts too."""
    told: list[int] = []
    judge = Scorer([RewardSpec.model_validate(own("hostile"))], 1.0, SHORT, told.append)
    judge.score(["fine", "vanish", "fine", "fine"], [""] * 4, {})
    judge.close()
    assert sum(told) == 4
