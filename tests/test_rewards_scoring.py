"""The Scorer: totals, None against error against 0.0, the error rate, and what it refuses."""

from types import SimpleNamespace
from typing import Any

import pytest

from data.errors import UserError
from tests.own_rewards import own
from training.config import RewardSpec
from training.rewards.pool import NOT_SCORED
from training.rewards.scoring import RewardErrors, Scorer


def spec(name: str, weight: float = 1.0, **params: Any) -> SimpleNamespace:
    return SimpleNamespace(name=name, weight=weight, params=params, callable=None, version=None)


def own_spec(name: str) -> SimpleNamespace:
    return SimpleNamespace(weight=1.0, params={}, **own(name))


def test_scorer_total_is_the_weighted_sum() -> None:
    """First: answer 1 x 2.0 + format 1 x 0.5 = 2.5. Second: right without a tag, so 2.0 + 0."""
    scorer = Scorer([spec("answer", 2.0), spec("format", 0.5)], 0.05)
    scores = scorer.score(["<answer>7</answer>", "it is 7"], ["q", "q"], {"answer": ["7", "7"]})
    assert scores.per_reward == {"answer": [1.0, 1.0], "format": [1.0, 0.0]}
    assert scores.total == [2.5, 2.0]
    assert scores.errors == [None, None]


def test_scorer_reward_not_applicable_adds_nothing_and_is_no_error() -> None:
    scorer = Scorer([spec("answer"), spec("format")], 0.0)
    scores = scorer.score(["<answer>7</answer>"] * 30, ["q"] * 30, {"answer": [None] * 30})
    assert scores.per_reward["answer"] == [None] * 30
    assert scores.total == [1.0] * 30
    assert scorer.error_rate == 0.0


def test_scorer_no_applicable_reward_gives_no_total() -> None:
    assert Scorer([spec("answer")], 0.0).score(["7"], ["q"], {"answer": [None]}).total == [None]


def test_scorer_exception_makes_only_that_completion_unscorable() -> None:
    scorer = Scorer([own_spec("breaks"), spec("format")], 0.5)
    scores = scorer.score(["<answer>7</answer>", "bad", "good"], ["q"] * 3, {})
    assert scores.per_reward == {"breaks": [1.0, None, 1.0], "format": [1.0, None, 0.0]}
    assert scores.total == [2.0, None, 1.0]
    assert scores.errors == [None, "breaks: KeyError: 'bad input'", None]
    assert scorer.error_rate == pytest.approx(1 / 3)


def test_scorer_error_rate_is_judged_from_twenty_completions_on() -> None:
    """One error in 19 is not judged; at 20 completions 1/20 is 5 %, which 5 % allows; the second, 2/21, is too many."""
    scorer = Scorer([own_spec("breaks")], 0.05)
    scorer.score(["bad"] + ["good"] * 18, ["q"] * 19, {})
    scorer.score(["good"], ["q"], {})
    with pytest.raises(RewardErrors, match=r"2 of 21 .* 'bad input'"):
        scorer.score(["bad"], ["q"], {})


def test_scorer_value_that_is_no_finite_number_is_an_error() -> None:
    scores = Scorer([own_spec("returns")], 1.0).score(["nan", "inf", "text", "none", "nothing"], ["q"] * 5, {})
    assert scores.total == [None] * 5
    assert [error is None for error in scores.errors] == [False, False, False, True, False]
    assert scores.errors[4] == "returns: ValueError: returned 0 values for 1 completion"


def test_scorer_parameters_reach_the_reward_and_columns_of_their_name_do_not() -> None:
    scorer = Scorer([spec("answer", strict=True)], 0.0)
    columns = {"answer": ["7", "7"], "strict": [False, False], "family": ["a", "b"]}
    assert scorer.score(["<answer>7</answer>", "7"], ["q", "q"], columns).total == [1.0, 0.0]


def test_scorer_length_takes_token_counts_from_the_caller() -> None:
    scorer = Scorer([spec("length", max_length=10, buffer=5)], 0.0)
    assert scorer.score(["a", "b"], ["q", "q"], {"completion_tokens": [5, 10]}).total == [0.0, -1.0]
    with pytest.raises(UserError, match="token counts"):
        scorer.score(["a"], ["q"], {})


def test_scorer_missing_column_names_what_is_there() -> None:
    with pytest.raises(UserError, match=r"answer needs the column 'answer'.*family, label"):
        Scorer([spec("answer")], 0.0).score(["7"], ["q"], {"label": ["7"], "family": ["a"]})


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        ([], "empty"),
        ([spec("anwser")], "did you mean answer"),
        ([spec("format"), spec("format")], "format is listed twice"),
        ([spec("answer", lenient=True)], "no parameter lenient; accepted: strict"),
        ([spec("format", tags=[])], "tags="),
        ([spec("format", tags=["a b"])], "a b"),
        ([spec("format", tags="answer")], "tags='answer'"),
        ([spec("length")], "max_length=None"),
        ([spec("length", max_length=10, buffer=20)], "exceeds"),
        ([spec("length", max_length=10, buffer=True)], "buffer=True"),
        ([spec("length", max_length=10, buffer=5, unit="words")], "tokens or characters"),
    ],
)
def test_scorer_bad_specs_are_refused_when_built(specs: list[SimpleNamespace], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Scorer(specs, 0.05)


def test_a_batch_broken_off_at_once_is_told_with_the_error_of_the_one_before() -> None:
    """Which worker answers first decides whether such a batch has an error of its own."""
    judge = Scorer([RewardSpec(name="format")], 0.05)
    judge._count(["format: ZeroDivisionError: a bug"] * 16)
    with pytest.raises(RewardErrors, match="the last error: format: ZeroDivisionError: a bug"):
        judge._count([NOT_SCORED] * 8)
