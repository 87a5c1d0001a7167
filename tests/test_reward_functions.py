"""TRL's reward functions read from one scoring call, and an error in one reward reaches every reward of that row."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.own_rewards import own
from training.config import RewardSpec
from training.reward_functions import RewardAdapter
from training.rewards.scoring import RewardErrors, Scorer, Scores


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4 ="}]
EXTRAS = {"trainer_state": object(), "log_extra": print, "log_metric": print}


class CountingScorer(Scorer):
    """Counts its batches."""

    batches = 0

    def score(self, *arguments: Any) -> Scores:
        self.batches += 1
        return super().score(*arguments)


@pytest.fixture(scope="module")
def adapter() -> Iterator[RewardAdapter]:
    """`answer` and `probe`, which raises on the completion "boom" and where it gets more than it should."""
    scorer = CountingScorer([RewardSpec(name="answer"), RewardSpec(**own("probe"))], 1.0)
    yield RewardAdapter(scorer)
    scorer.close()


def score(adapter: RewardAdapter, completions: list[list[dict[str, str]]]) -> dict[str, list[float | None]]:
    ids = [[1, 2, 3] for _ in completions]
    return {
        function.__name__: function([PROMPT] * len(ids), completions, ids, answer=["7"] * len(ids), **EXTRAS)
        for function in adapter.functions
    }


def test_all_functions_of_a_batch_share_one_scoring_call(adapter: RewardAdapter) -> None:
    before = adapter.scorer.batches  # type: ignore[attr-defined]
    scores = score(adapter, [chat("<answer>7</answer>"), chat("<answer>8</answer>")])
    assert scores == {"answer": [1.0, 0.0], "probe": [0.5, 0.5]}
    assert adapter.scorer.batches == before + 1  # type: ignore[attr-defined]
    score(adapter, [chat("7"), chat("8")])
    assert adapter.scorer.batches == before + 2  # type: ignore[attr-defined]


def test_an_error_makes_the_whole_completion_unscorable(adapter: RewardAdapter) -> None:
    scores = score(adapter, [chat("boom"), chat("<answer>7</answer>")])
    assert scores == {"answer": [None, 1.0], "probe": [None, 0.5]}


def test_too_many_unscorable_completions_stop_the_run() -> None:
    adapter = RewardAdapter(Scorer([RewardSpec(**own("probe"))], 0.05))
    with pytest.raises(RewardErrors, match="could not be scored"):
        score(adapter, [chat("boom"), chat("fine")] * 10)
