"""Every shipped reward on its golden cases, on the main thread and off it."""

import threading

import pytest

from training.rewards import REWARDS, answer_cases, format_cases, length_cases
from training.rewards.cases import Case

CASES = {"answer": answer_cases.CASES, "format": format_cases.CASES, "length": length_cases.CASES}
NAMED = [pytest.param(name, case, id=f"{name}-{case.why}") for name, cases in CASES.items() for case in cases]


def score(name: str, case: Case) -> float | None:
    reward = REWARDS[name]
    columns = {column: [value] for column, value in case.columns.items()}
    parameters = {**reward.parameters, **case.parameters}
    return reward.function([case.completion], [case.prompt], **columns, **parameters)[0]


@pytest.mark.parametrize(("name", "case"), NAMED)
def test_reward_golden_case_is_met(name: str, case: Case) -> None:
    assert score(name, case) == (None if case.expected is None else pytest.approx(case.expected))


def test_reward_every_shipped_reward_has_golden_cases() -> None:
    assert CASES.keys() == REWARDS.keys()


def test_answer_off_the_main_thread_gives_the_same_scores() -> None:
    """math-verify's own timeouts need the main thread; elsewhere they raise."""
    found: list[float | None] = []
    thread = threading.Thread(target=lambda: found.extend(score("answer", case) for case in answer_cases.CASES))
    thread.start()
    thread.join()
    assert found == [case.expected for case in answer_cases.CASES]
