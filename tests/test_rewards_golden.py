"""Every shipped reward on its golden cases, on the main thread and off it."""

import threading

import pytest

from training.rewards import REWARDS
from training.rewards.cases import Case
from training.rewards.golden import CASES, is_met, score
from training.sandbox.levels import why_not

NAMED = [pytest.param(name, case, id=f"{name}-{case.why}") for name, cases in CASES.items() for case in cases]


@pytest.mark.parametrize(("name", "case"), NAMED)
def test_reward_golden_case_is_met(name: str, case: Case) -> None:
    if name == "code" and why_not("namespaces"):
        pytest.skip(f"no sandbox on this machine: {why_not('namespaces')}")
    assert is_met(found := score(name, case), case.expected), f"{found} is not {case.expected}: {case}"


def test_reward_every_shipped_reward_has_golden_cases() -> None:
    assert CASES.keys() == REWARDS.keys()


def test_every_kind_of_instruction_has_a_case_that_follows_it_and_one_that_does_not() -> None:
    from training.rewards.constraints import KINDS
    from training.rewards.instructions_cases import ROWS

    assert {kind for kind, *_, follows, _ in ROWS if follows} == set(KINDS)
    assert {kind for kind, *_, follows, _ in ROWS if not follows} == set(KINDS)


def test_answer_off_the_main_thread_gives_the_same_scores() -> None:
    """math-verify's own timeouts need the main thread; elsewhere they raise."""
    found: list[float | None] = []
    thread = threading.Thread(target=lambda: found.extend(score("answer", case) for case in CASES["answer"]))
    thread.start()
    thread.join()
    assert found == [case.expected for case in CASES["answer"]]
