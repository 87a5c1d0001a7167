"""The ledger's phases are exclusive and sum to the step."""

import pytest

from training.ledger import Ledger


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_nested_phases_are_exclusive_and_sum_to_the_step() -> None:
    """generate 1..3, inside it reward 3..7, generate again 7..8, nothing 8..10: 3 + 4 + 3 unaccounted = 10."""
    clock = Clock()
    ledger = Ledger(clock)
    clock.now = 1.0
    with ledger.timing("generate"):
        clock.now = 3.0
        with ledger.timing("reward"):
            clock.now = 7.0
        clock.now = 8.0
    clock.now = 10.0
    step = ledger.end_step()
    assert (step["generate"], step["reward"], step["unaccounted"], step["step"]) == (3.0, 4.0, 3.0, 10.0)
    assert ledger.totals["step"] == 10.0


def test_a_phase_open_across_a_step_end_is_split_between_the_steps() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    with ledger.timing("forward_backward"):
        clock.now = 2.0
        first = ledger.end_step()
        clock.now = 5.0
    second = ledger.end_step()
    assert (first["forward_backward"], second["forward_backward"]) == (2.0, 3.0)


def test_time_before_begin_belongs_to_no_step() -> None:
    clock = Clock()
    ledger = Ledger(clock)
    clock.now = 9.0
    ledger.begin()
    clock.now = 10.0
    assert ledger.end_step()["step"] == 1.0


def test_what_follows_the_last_step_is_in_the_totals_of_its_phases_and_in_no_step() -> None:
    """A step of 4 s, 1 of them saving; after it 3 s of saving and 2 s of nothing."""
    clock = Clock()
    ledger = Ledger(clock)
    with ledger.timing("checkpoint"):
        clock.now = 1.0
    clock.now = 4.0
    ledger.end_step()
    with ledger.timing("checkpoint"):
        clock.now = 7.0
    clock.now = 9.0
    ledger.end_training()
    assert ledger.after_last_step == {"checkpoint": 3.0}
    assert (ledger.totals["checkpoint"], ledger.totals["step"], ledger.totals["unaccounted"]) == (4.0, 4.0, 3.0)


def test_an_unknown_phase_is_refused() -> None:
    with pytest.raises(KeyError, match="not a phase"), Ledger().timing("coffee"):
        pass


def test_an_exception_closes_the_phase() -> None:
    ledger = Ledger(Clock())
    with pytest.raises(RuntimeError), ledger.timing("reward"):
        raise RuntimeError
    assert ledger.phase is None
