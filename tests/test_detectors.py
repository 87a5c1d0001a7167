"""Each detector on a series that trips it and on healthy ones; the numbers of a finding are those of the series."""

import math
from typing import Any

import pytest

from training.config.health import DETECTOR_BLOCKS, HEALTH_BLOCKS
from training.detectors import DETECTORS, Finding
from training.detectors.duplicates import duplicate_share

Series = dict[str, list[Any]]


def history(series: Series) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl from step 1; a value of "" is a step that did not log the metric."""
    steps = len(next(iter(series.values())))
    return [
        {"step": step + 1, **{name: values[step] for name, values in series.items() if values[step] != ""}}
        for step in range(steps)
    ]


def find(name: str, series: Series, **limits: Any) -> Finding | None:
    return DETECTORS[name].find(history(series), DETECTOR_BLOCKS[name](**limits))


NAN = math.nan
# detector, limits, series, the first step that shows it, a part of the message
SICK: list[tuple[str, dict[str, Any], Series, int, str]] = [
    ("not_finite", {}, {"loss": [1.0, NAN]}, 2, "loss is nan"),
    ("not_finite", {}, {"loss": [1.0, 1.0], "grad_norm": [1.0, math.inf]}, 2, "grad_norm is inf"),
    (
        "gradient_spike",
        {"window": 3, "factor": 5.0},
        {"grad_norm": [1.0, 2.0, 3.0, 10.5]},
        4,
        "5.25 times the median 2",
    ),
    ("held_out_loss", {"times": 2}, {"eval_loss": [2.0, "", 1.0, 1.06, "", 1.1]}, 4, "its lowest was 1 at step 3"),
    ("held_out_kl", {"above": 0.5}, {"eval_kl_from_start": [0.6, 0.4, "", 0.7, "", 0.8]}, 4, "0.8 nats a token"),
    (
        "chosen_falling",
        {"window": 2},
        {"logps/chosen": [-10.0, -10.0, -12.0, -13.0], "rewards/margins": [0.0, 0.0, 0.1, 0.3]},
        3,
        "fell from -10.0 to -12.5 (25%)",
    ),
    (
        "length_bias",
        {"window": 2},
        {"rewards/length_correlation": [0.0, 0.9, 0.8]},
        2,
        "by +0.85 over 2 steps",
    ),
    ("length_bias", {"window": 2}, {"rewards/length_correlation": [0.0, -0.9, -0.8]}, 2, "the shorter answer wins"),
    ("silent_groups", {"window": 3}, {"groups/without_signal": [0.0, 1.0, "", 1.0, 0.9]}, 2, "97%"),
    ("truncation", {"window": 2}, {"completions/clipped_ratio": [0.0, 0.5, 0.6]}, 2, "55%"),
    ("entropy_floor", {"window": 2, "below": 0.1}, {"entropy": [0.5, 0.09, 0.09]}, 2, "0.09 nats"),
    ("kl_jump", {"window": 2, "factor": 4.0}, {"kl": [0.01, 0.02, 0.07]}, 3, "KL 0.07"),
    ("length_drift", {"window": 2, "factor": 2.0}, {"completions/mean_length": [10, 10, 20, 21]}, 3, "2.05 times"),
    ("length_drift", {"window": 2, "factor": 2.0}, {"completions/mean_length": [10, 10, 5, 4]}, 3, "0.45 times"),
    ("duplicates", {"window": 2}, {"completions/duplicate_share": [0.2, 0.9, 0.9]}, 2, "90%"),
    (
        "format_without_accuracy",
        {"window": 2},
        {"reward/format": [0.1, 0.1, 0.5, 0.7], "reward/answer": [0.4, 0.4, 0.3, 0.3]},
        3,
        "reward/format rose from 0.10 to 0.60 while reward/answer fell from 0.40 to 0.30",
    ),
    ("reward_errors", {}, {"reward/error_rate": [0.0, 0.02]}, 2, "2.0%"),
]

HEALTHY: list[tuple[str, dict[str, Any], Series]] = [
    ("not_finite", {}, {"loss": [0.0, -1.0], "grad_norm": [0.0, 1e6]}),
    ("not_finite", {}, {"loss": [NAN, 1.0]}),  # over: a later step is judged by itself
    ("gradient_spike", {"window": 3, "factor": 5.0}, {"grad_norm": [1.0, 2.0, 3.0, 9.9]}),
    ("gradient_spike", {"window": 3, "factor": 5.0}, {"grad_norm": [1.0, 2.0, 50.0]}),  # too early to say
    ("gradient_spike", {"window": 2, "factor": 5.0}, {"grad_norm": [1.0, 0.0, 0.0, 1.0, 2.0]}),  # rounds without signal
    ("gradient_spike", {"window": 1, "factor": 5.0}, {"grad_norm": [1.0, 0.0]}),
    ("held_out_loss", {"times": 2}, {"eval_loss": [2.0, 1.0, 1.06, 1.04]}),
    ("held_out_loss", {"times": 2}, {"eval_loss": [1.0, 1.2]}),
    ("held_out_kl", {"above": 0.5}, {"eval_kl_from_start": [0.1, 0.6, 0.5]}),
    ("held_out_kl", {"above": 0.5}, {"eval_kl_from_start": [0.1, 0.6, ""]}),  # not measured at this step
    ("chosen_falling", {"window": 1}, {"logps/chosen": [-10.0, -15.0], "rewards/margins": [0.2, 0.1]}),
    ("chosen_falling", {"window": 1}, {"logps/chosen": [-10.0, -11.0], "rewards/margins": [0.0, 0.3]}),
    ("length_bias", {"window": 2}, {"rewards/length_correlation": [0.9, -0.9]}),
    ("silent_groups", {"window": 3}, {"groups/without_signal": [1.0, 1.0, 0.5]}),
    ("silent_groups", {"window": 3}, {"groups/without_signal": [1.0, 1.0]}),
    ("silent_groups", {"window": 2}, {"groups/without_signal": [1.0, 1.0, ""]}),  # nothing new was drawn
    ("truncation", {"window": 2}, {"completions/clipped_ratio": [1.0, 0.4, 0.6]}),
    ("entropy_floor", {"window": 2, "below": 0.1}, {"entropy": [0.05, 0.15]}),
    ("kl_jump", {"window": 2, "factor": 4.0}, {"kl": [0.01, 0.02, 0.05]}),
    ("kl_jump", {"window": 2, "factor": 4.0}, {"kl": [0.001, 0.001, 0.04]}),  # a jump, and still small
    ("length_drift", {"window": 2, "factor": 2.0}, {"completions/mean_length": [10, 10, 19, 20]}),
    ("duplicates", {"window": 2}, {"completions/duplicate_share": [1.0, 0.7]}),
    ("format_without_accuracy", {"window": 1}, {"reward/format": [0.1, 0.9], "reward/answer": [0.4, 0.4]}),
    ("format_without_accuracy", {"window": 1}, {"reward/format": [0.5, 0.5], "reward/answer": [0.4, 0.1]}),
    ("format_without_accuracy", {"window": 1}, {"reward/length": [0.1, 0.9], "reward/answer": [0.4, 0.1]}),
    ("reward_errors", {}, {"reward/error_rate": [0.5, 0.01]}),
]


@pytest.mark.parametrize(("name", "limits", "series", "since", "said"), SICK)
def test_detector_finds_what_it_is_for(name: str, limits: dict, series: Series, since: int, said: str) -> None:
    found = find(name, series, **limits)
    assert found is not None
    assert found.since == since
    assert said in found.message


@pytest.mark.parametrize(("name", "limits", "series"), HEALTHY)
def test_detector_passes_over_a_healthy_series(name: str, limits: dict, series: Series) -> None:
    assert find(name, series, **limits) is None


@pytest.mark.parametrize("name", DETECTORS)
def test_detector_has_both_series_here_and_is_silent_about_a_run_that_logs_none_of_its_metrics(name: str) -> None:
    assert name in {case[0] for case in SICK}
    assert name in {case[0] for case in HEALTHY}
    assert find(name, {"loss": [1.0] * 50}) is None


def test_every_detector_of_a_kind_has_its_function_and_every_function_a_kind() -> None:
    listed = {name for block in HEALTH_BLOCKS.values() for name in block().detectors}
    assert listed == set(DETECTORS) == set(DETECTOR_BLOCKS)


ROUND = [
    {"prompt": "a", "completion": "x", "rewards": {"r": 1.0}, "advantage": 0.0, "tokens": 3, "truncated": False},
    {"prompt": "a", "completion": "x", "rewards": {"r": 1.0}, "advantage": 0.0, "tokens": 3, "truncated": True},
    {"prompt": "b", "completion": "x", "rewards": {"r": None}, "advantage": 0.5, "tokens": 9, "truncated": False},
    {"prompt": "b", "completion": "y", "rewards": {"r": 0.0}, "advantage": -2.0, "tokens": 1, "truncated": False},
]


@pytest.mark.parametrize(
    ("name", "places"),
    [
        ("silent_groups", [0]),
        ("truncation", [1]),
        ("duplicates", [1]),
        ("reward_errors", [2]),
        ("length_drift", [2, 0, 1, 3]),
        ("gradient_spike", [3, 2, 0, 1]),
        ("kl_jump", [3, 2, 0, 1]),
        ("not_finite", [0, 1, 2, 3]),
        ("chosen_falling", []),
    ],
)
def test_detector_names_the_completions_that_show_it(name: str, places: list[int]) -> None:
    assert DETECTORS[name].rows(ROUND) == places


def test_duplicate_share_counts_repetitions_within_a_prompt() -> None:
    """Of a's other completion and b's other two, one and one repeat: 2 of 3. b's x is none of a's x."""
    assert duplicate_share(["a", "a", "b", "b", "b"], ["x", "x", "x", "y", "y"]) == pytest.approx(2 / 3)
    assert duplicate_share(["a", "b"], ["x", "x"]) == 0.0
