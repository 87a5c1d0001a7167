"""What a sample stage keeps of scored draws: by hand, without a model."""

from types import SimpleNamespace
from typing import Any

import pytest

from training.sample_draws import divided, groups
from training.sample_keep import kept_rows, pairs, pass_rate, ranked_draws, summary


def stage(**changes: Any) -> Any:
    fields = {
        "keep": "pairs",
        "draws": 4,
        "temperature": 1.0,
        "min_margin": 0.5,
        "chosen_at_least": None,
        "rejected_at_most": None,
        "rows_per_prompt": 1,
        "pass_at_least": 1.0,
        "batch_size": 8,
    }
    return SimpleNamespace(**{**fields, **changes})


def prompt(*draws: tuple[str, float | None], question: str = "q") -> dict[str, Any]:
    """A scored prompt of (text, reward)."""
    return {
        "prompt": [{"role": "user", "content": question}],
        "answer": "7",
        "draws": [
            {"completion": text, "reward": reward, "tokens": 3, "truncated": False, "temperature": 1.0}
            for text, reward in draws
        ],
    }


def kept(scored: dict[str, Any], **fields: Any) -> list[Any]:
    """(chosen, rejected) or the completion of every row kept."""
    rows, _ = kept_rows([scored], stage(**fields), None)
    text = [[row[name][0]["content"] for name in ("chosen", "rejected", "completion") if name in row] for row in rows]
    return [tuple(texts) if len(texts) > 1 else texts[0] for texts in text]


FOUR = prompt(("right", 1.0), ("wrong", 0.0), ("half", 0.6), ("tagged", 1.2))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [("tagged", "wrong")]),
        ({"min_margin": 1.3}, []),
        ({"rows_per_prompt": 2}, [("tagged", "wrong")]),  # right against half is 0.4 apart
        ({"rows_per_prompt": 2, "min_margin": 0.4}, [("tagged", "wrong"), ("right", "half")]),
        ({"chosen_at_least": 1.0, "rejected_at_most": 0.0}, [("tagged", "wrong")]),
        ({"chosen_at_least": 1.3}, []),
        ({"rejected_at_most": -0.1}, []),
        ({"rows_per_prompt": 2, "min_margin": 0.0, "rejected_at_most": 0.5}, [("tagged", "wrong")]),
        ({"keep": "best"}, ["tagged"]),
        ({"keep": "best", "rows_per_prompt": 3}, ["tagged", "right", "half"]),
        ({"keep": "best", "rows_per_prompt": 4}, ["tagged", "right", "half"]),  # 0 is not above 0
        ({"keep": "best", "rows_per_prompt": 4, "chosen_at_least": 0.0}, ["tagged", "right", "half", "wrong"]),
        ({"keep": "best", "chosen_at_least": 1.5}, []),
    ],
)
def test_rows_kept_of_four_draws(fields: dict[str, Any], expected: list[Any]) -> None:
    assert kept(FOUR, **fields) == expected


def test_prompts_are_kept_with_their_pass_rate_whatever_their_draws_earned() -> None:
    silent = prompt(("no", 0.0), ("never", 0.0))
    rows, _ = kept_rows([FOUR, silent | {"answer": "8"}], stage(keep="prompts"), None)
    assert [(row["answer"], row["pass_rate"], "draws" in row) for row in rows] == [("7", 0.5, False), ("8", 0.0, False)]


def test_draws_without_text_or_score_and_repeated_texts_are_not_ranked() -> None:
    draws = prompt(("a", 0.2), (" ", 1.0), ("b", None), ("a ", 0.9), ("c", 0.5))["draws"]
    assert [(draw["completion"], draw["reward"]) for draw in ranked_draws(draws)] == [("a ", 0.9), ("c", 0.5)]


def test_no_completion_is_in_two_pairs_and_the_middle_one_stays_alone() -> None:
    ranked = [{"reward": reward} for reward in (5.0, 4.0, 3.0, 2.0, 1.0)]
    found = pairs(ranked, stage(rows_per_prompt=5, min_margin=0.0))
    assert [(chosen["reward"], rejected["reward"]) for chosen, rejected in found] == [(5.0, 1.0), (4.0, 2.0)]


def test_rows_with_the_same_normalised_text_are_kept_once_and_counted() -> None:
    """The system message is the pipeline's own and tells nothing; case and spaces do not count, the question does."""
    scored = [
        prompt(("Seven", 1.0), ("no", 0.0)),
        prompt(("seven ", 1.0), ("No", 0.0)),
        prompt(("Seven", 1.0), ("no", 0.0), question="another"),
    ]
    rows, repeated = kept_rows(scored, stage(keep="best"), None)
    assert [row["completion"][0]["content"] for row in rows] == ["Seven", "Seven"]
    assert repeated == 1


def test_pass_rate_counts_scored_draws_that_reach_the_threshold() -> None:
    """1.0, 1.2 of four reach 1; of three scored draws 0.6 and 1.0 reach 0.5: two thirds, mean 0.5333."""
    assert pass_rate(FOUR, 1.0)["pass_rate"] == 0.5
    found = pass_rate(prompt(("a", 0.6), ("b", None), ("c", 1.0), ("d", 0.0)), 0.5)
    assert (found["num_draws"], found["num_scored"], found["num_passed"]) == (4, 3, 2)
    assert found["pass_rate"] == pytest.approx(2 / 3)
    assert found["mean_reward"] == pytest.approx(1.6 / 3)
    assert (found["answer"], "draws" in found) == ("7", False)
    assert pass_rate(prompt(("a", None)), 0.5)["pass_rate"] is None


def test_summary_counts_prompts_without_signal_and_unscored_draws() -> None:
    scored = [FOUR, prompt(("a", 0.0), ("b", 0.0)), prompt(("a", None), ("b", None)), prompt(("a", 0.0), ("", None))]
    found = summary(scored, [{}], 2, stage())
    assert (found["prompts"], found["draws"], found["kept"], found["duplicates"]) == (4, 10, 1, 2)
    assert found["prompts_without_signal"] == 2
    assert found["unscored"] == 3
    assert found["empty_completions"] == 1
    assert found["mean_reward"] == pytest.approx(2.8 / 7)
    assert found["mean_pass_rate"] == pytest.approx(0.5 / 3)


@pytest.mark.parametrize(
    ("draws", "temperature", "expected"),
    [
        (4, 0.7, [(0.7, 4)]),
        (4, [0.7, 1.0], [(0.7, 2), (1.0, 2)]),
        (5, [0.7, 1.0, 1.3], [(0.7, 2), (1.0, 2), (1.3, 1)]),
        (3, [0.7, 1.0, 1.3], [(0.7, 1), (1.0, 1), (1.3, 1)]),
    ],
)
def test_draws_are_divided_over_the_temperatures(draws: int, temperature: Any, expected: Any) -> None:
    assert divided(draws, temperature) == expected


def test_groups_hold_neighbours_and_as_many_prompts_as_the_batch_has_room_for() -> None:
    """Eight rows at once: four prompts of two draws at each of two temperatures, two of three or four."""
    encoded = [[5], [1, 2], [9], [1], [5, 5]]
    assert groups(encoded, stage(temperature=[0.5, 1.0])) == [[3, 1, 0, 4], [2]]
    assert groups(encoded, stage()) == [[3, 1], [0, 4], [2]]
    assert groups(encoded, stage(batch_size=1)) == [[3], [1], [0], [4], [2]]
