"""A reward model beside the rewards by rule: which model it is, which rows it scores, and its scores of rollouts.

In a `grpo` stage each rank has a copy of the model and scores the completions it drew. Rows are routed by a column:
`without: answer` leaves those with an answer to the rules. No score is kept: rollouts do not come again.
"""

from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from training.base import locate_model
from training.config.scorers import stage_named
from training.context import StageContext
from training.models import whole_on_this_rank
from training.pins import Pins
from training.reward_scores import Messages, RewardModelScorer, check_reward_model

TOO_LONG = "reward_model: the conversation exceeds the model's context"

Score = Callable[[Messages, list[str]], list[float | None]]


class ModelReward:
    """The reward model of a `grpo` stage: `score` is a RewardModelScorer's, `block` the config's RewardModelScore."""

    def __init__(self, block: Any, score: Score) -> None:
        self.weight: float = block.weight
        self._without, self._score = block.without, score

    def score(
        self, prompts: list[Messages], completions: list[str], columns: dict[str, list[Any]]
    ) -> tuple[list[float | None], list[str | None]]:
        """Return one score and one error a completion: no score where the row is not the model's to score, an error
        where the conversation exceeds its context.

        Copies of a prompt that stand together are scored together.
        """
        values: list[float | None] = [None] * len(completions)
        errors: list[str | None] = [None] * len(completions)
        told = columns.get(self._without, values)
        asked = [place for place in range(len(completions)) if told[place] is None]
        for _, copies in groupby(asked, key=lambda place: prompts[place]):
            places = list(copies)
            scores = self._score(prompts[places[0]], [completions[place] for place in places])
            for place, value in zip(places, scores, strict=True):
                values[place], errors[place] = value, TOO_LONG if value is None else None
        return values, errors


def open_model_reward(context: StageContext, arguments: Any) -> ModelReward | None:
    """Load what a `grpo` stage scores with beside its rewards, in the precision of its arithmetic; None if nothing."""
    block = context.stage.reward_model
    if block is None:
        return None
    dtype = "bfloat16" if arguments.bf16 else "float16" if arguments.fp16 else "float32"
    with torch.random.fork_rng():  # a policy trained without it draws the same
        return ModelReward(block, open_reward_model(context, dtype, cached=False).score)


def open_reward_model(context: StageContext, dtype: str, cached: bool) -> RewardModelScorer:
    """Load the reward model that a stage names, on this rank's device."""
    folder = reward_model_folder(context)
    check_reward_model(folder, context.stage.reward_model.model)
    device = torch.device(f"cuda:{context.world.local_rank}" if torch.cuda.is_available() else "cpu")
    with whole_on_this_rank():
        return RewardModelScorer(folder, dtype, device, context.world.rank, cached)


def reward_model_folder(context: StageContext) -> Path:
    """Where the reward model lies: an earlier stage's model, a folder, or the hub's cache."""
    reference = context.stage.reward_model.model
    name = stage_named(reference)
    if name is not None:
        context.record_of(name)
        return context.folder_of(name) / "model"
    return locate_model(reference, Pins(context.plan.pins, context.pipeline.offline))
