"""TRL's reward functions read from one scoring call, and an error in one reward reaches every reward of that row."""

import pytest

from training.config import RewardSpec
from training.reward_functions import RewardAdapter
from training.rewards import REWARDS, Reward
from training.rewards.scoring import RewardErrors, Scorer


def chat(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4 ="}]
EXTRAS = {"trainer_state": object(), "log_extra": print, "log_metric": print}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """A reward named `probe` that notes its calls and raises on the completion "boom"."""
    seen: list[list[str]] = []

    def probe(completions: list[str], prompts: list[str], **columns: list) -> list[float | None]:
        seen.append(completions)
        assert prompts == ["3 + 4 ="] * len(completions)
        assert set(columns) == {"answer", "completion_tokens"}
        if "boom" in completions:
            raise ValueError("cannot score this")
        return [0.5] * len(completions)

    monkeypatch.setitem(REWARDS, "probe", Reward("probe", 1, probe))
    return seen


def score(adapter: RewardAdapter, completions: list[list[dict[str, str]]]) -> dict[str, list[float | None]]:
    ids = [[1, 2, 3] for _ in completions]
    return {
        function.__name__: function([PROMPT] * len(ids), completions, ids, answer=["7"] * len(ids), **EXTRAS)
        for function in adapter.functions
    }


def test_all_functions_of_a_batch_share_one_scoring_call(calls: list[list[str]]) -> None:
    adapter = RewardAdapter(Scorer([RewardSpec(name="answer"), RewardSpec(name="probe")], 0.05))
    scores = score(adapter, [chat("<answer>7</answer>"), chat("<answer>8</answer>")])
    assert scores == {"answer": [1.0, 0.0], "probe": [0.5, 0.5]}
    assert len(calls) == 1
    score(adapter, [chat("7"), chat("8")])
    assert len(calls) == 2


def test_an_error_makes_the_whole_completion_unscorable(calls: list[list[str]]) -> None:
    adapter = RewardAdapter(Scorer([RewardSpec(name="answer"), RewardSpec(name="probe")], 0.05))
    scores = score(adapter, [chat("boom"), chat("<answer>7</answer>")])
    assert scores == {"answer": [None, 1.0], "probe": [None, 0.5]}


def test_too_many_unscorable_completions_stop_the_run(calls: list[list[str]]) -> None:
    adapter = RewardAdapter(Scorer([RewardSpec(name="probe")], 0.05))
    with pytest.raises(RewardErrors, match="could not be scored"):
        score(adapter, [chat("boom"), chat("fine")] * 10)
