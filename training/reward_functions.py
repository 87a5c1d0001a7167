"""TRL reward functions backed by one scoring call a batch, so that an error in one reward reaches all of them.

TRL calls one function per reward and sums with nansum, where a single None counts as 0 (FACTS: trap 12). The first
call for a batch scores it with every reward; the others read from that result. What TRL adds to the call is dropped.
"""

from collections.abc import Callable
from typing import Any

from training.rewards.scoring import Scorer, Scores

TRL_EXTRAS = ("trainer_state", "log_extra", "log_metric", "environments", "completion_ids")


class RewardAdapter:
    """Holds the scores of the batch under way; `functions` are what GRPOTrainer gets as `reward_funcs`."""

    def __init__(self, scorer: Scorer):
        self.scorer = scorer
        self._batch: list[Any] | None = None
        self.completion_ids: list[list[int]] = []  # of the batch scored last, on this rank
        self._scores: Scores | None = None
        self.functions = [self._function(spec.name) for spec in scorer.specs]

    def _function(self, name: str) -> Callable[..., list[float | None]]:
        def reward(
            prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
        ) -> list[float | None]:
            if self._batch is not completions:
                self._scores = self._score(prompts, completions, completion_ids, columns)
                self._batch = completions
                self.completion_ids = completion_ids
            assert self._scores is not None
            return self._scores.per_reward[name]

        reward.__name__ = name
        return reward

    def _score(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], columns: dict[str, Any]
    ) -> Scores:
        own = {name: values for name, values in columns.items() if name not in TRL_EXTRAS}
        own["completion_tokens"] = [len(ids) for ids in completion_ids]
        return self.scorer.score([assistant_text(c) for c in completions], [prompt_text(p) for p in prompts], own)


def assistant_text(completion: Any) -> str:
    """The completion as text, whether it is a string or a list with one assistant message."""
    return completion if isinstance(completion, str) else str(completion[0]["content"] or "")


def prompt_text(prompt: Any) -> str:
    """The last message's text, or the string itself."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
