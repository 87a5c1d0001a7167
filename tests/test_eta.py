"""The ETA from the ledger: not thrown by checkpoints, evaluations and rollout rounds; and the lines of progress."""

import pytest

from training.eta import StepTimes, quantile
from training.progress import PROGRESS_LINE, Progress, eta_words


def step(seconds: float = 1.0, **phases: float) -> dict[str, float]:
    """A step whose forward_backward takes `seconds`, beside other phases."""
    return {"forward_backward": seconds, "step": seconds + sum(phases.values())} | phases


def times(*steps: dict[str, float]) -> StepTimes:
    found = StepTimes()
    for one in steps:
        found.note(one)
    return found


def test_no_step_no_eta() -> None:
    assert StepTimes().eta(10) is None


def test_even_steps_give_their_length_and_no_range() -> None:
    eta = times(*[step(2.0)] * 8).eta(10)
    assert eta is not None
    assert (eta.likely_s, eta.low_s, eta.high_s) == (20.0, 20.0, 20.0)


def test_a_checkpoint_counts_as_often_as_it_came() -> None:
    """By hand: 20 steps of 1 s, one of which also wrote a checkpoint for 10 s: 100 more cost 100 x (1 + 10/20) s."""
    steps = [step(1.0)] * 19 + [step(1.0, checkpoint=10.0)]
    eta = times(*steps).eta(100)
    assert eta is not None
    assert eta.likely_s == pytest.approx(150.0)
    assert eta.low_s == eta.high_s == pytest.approx(150.0)


def test_a_checkpoint_just_written_does_not_double_the_eta() -> None:
    """The plain mean of two steps, 1 s and 41 s, would be 21 s a step; the checkpoint came once in 100 steps."""
    steps = [step(1.0)] * 99 + [step(1.0, checkpoint=40.0)]
    eta = times(*steps).eta(100)
    assert eta is not None
    assert eta.likely_s == pytest.approx(140.0)


def test_rollout_rounds_of_every_fourth_step_are_counted() -> None:
    """The median step has no rollout; a quarter of the steps has one of 8 s: 1 + 8/4 = 3 s a step."""
    steps = [step(1.0, generate=8.0 if number % 4 == 0 else 0.0) for number in range(40)]
    eta = times(*steps).eta(10)
    assert eta is not None
    assert eta.likely_s == pytest.approx(30.0)


def test_one_slow_step_moves_the_eta_little() -> None:
    eta = times(*[step(1.0)] * 20, step(100.0)).eta(10)
    assert eta is not None
    assert eta.likely_s == pytest.approx(10.0)


def test_the_range_is_that_of_the_faster_and_the_slower_quarter() -> None:
    """Steps of 1 to 5 s: quartiles 2 and 4, median 3."""
    eta = times(*(step(float(seconds)) for seconds in (5, 1, 4, 2, 3))).eta(10)
    assert eta is not None
    assert (eta.low_s, eta.likely_s, eta.high_s) == (20.0, 30.0, 40.0)


def test_only_recent_steps_count_when_steps_get_longer() -> None:
    eta = times(*[step(1.0)] * 200, *[step(3.0)] * 50).eta(10)
    assert eta is not None
    assert eta.likely_s == pytest.approx(30.0)


def test_quantile_lies_between_neighbours() -> None:
    assert quantile([1.0, 2.0], 0.5) == 1.5
    assert quantile([7.0], 0.25) == 7.0


def test_eta_words_leave_out_a_range_that_reads_alike() -> None:
    assert eta_words(200.0, 185.0, 230.0) == "ETA 3 min 20 s (3 min 05 s to 3 min 50 s)"
    assert eta_words(20.0, 20.0, 20.2) == "ETA 20 s"


def test_progress_takes_its_eta_from_the_steps_it_is_told_of() -> None:
    lines: list[str] = []
    progress = Progress("sft", shown=True, write=lines.append)
    progress.start(4, 10)
    for _ in range(5):
        progress.note(step(60.0))
    progress.step(5, {"loss": 1.5}, 420.0)
    assert lines == ["sft  step 5/10  loss 1.5  420 tokens/s  ETA 5 min 00 s"]


def test_progress_without_steps_goes_by_the_rate_so_far() -> None:
    progress = Progress("sft", shown=False)
    progress.start(0, 10)
    assert progress.eta is None
    progress.step(5)
    assert progress.eta is not None
    assert 0 <= progress.eta.likely_s < 5


def test_a_line_comes_at_most_every_few_seconds_and_always_at_the_end() -> None:
    lines: list[str] = []
    progress = Progress("sft", shown=True, write=lines.append)
    progress.start(0, 100)
    for done in range(1, 101):
        progress.step(done)
    assert len(lines) == 2
    assert lines[0].startswith("sft  step 1/100")
    assert lines[1].startswith("sft  step 100/100  took")


def test_what_progress_writes_is_known_as_progress() -> None:
    lines: list[str] = []
    for unit in ("step", "completions"):
        progress = Progress("evaluate-sft", shown=True, unit=unit, write=lines.append)
        progress.start(0, 3)
        progress.step(1, {"loss": 0.5})
        progress.step(3)
    assert len(lines) == 4
    assert all(PROGRESS_LINE.fullmatch(line) for line in lines)
    for line in ("sft  12 rows, batch size 8, 2 rank(s)", "sft  stopped at step 57 (SIGUSR1)", "warning: step 1/2"):
        assert not PROGRESS_LINE.fullmatch(line)
