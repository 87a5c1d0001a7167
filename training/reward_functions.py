"""TRL reward functions backed by one scoring call a batch, so that an error in one reward reaches all of them.

TRL calls one function per reward and sums with nansum, where a single None counts as 0 (FACTS: trap 12). The first
call for a batch scores it with every reward, and with the stage's reward model where it has one; the others read from
that result. What TRL adds to the call is dropped.
"""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from training.config.scorers import JUDGE, REWARD_MODEL
from training.context import StageContext
from training.environment import available_cores
from training.environments import environment_state
from training.rewards.environment_state import COLUMN
from training.rewards.pool import Limits
from training.rewards.scoring import Scorer, Scores, weighted_totals
from training.world import World, gather

if TYPE_CHECKING:
    from training.judge import JudgeCalls
    from training.model_reward import ModelReward

MOST_WORKERS = 8
"""Workers of a rank where the config names no number."""

TRL_EXTRAS = ("trainer_state", "log_extra", "log_metric", COLUMN, "completion_ids")


def stage_scorer(context: StageContext) -> Scorer:
    """The scorer of a stage on this rank, its workers already loading the rewards."""
    stage, runtime = context.stage, context.pipeline.runtime
    on_this_host = max(1, context.world.size // runtime.nodes)
    workers = runtime.reward_workers or min(MOST_WORKERS, max(1, available_cores() // on_this_host))
    limits = Limits(workers, runtime.reward_time_limit, runtime.reward_memory_gb)
    scorer = Scorer(stage.rewards, stage.max_error_rate, limits, context.state.rows_done)
    scorer.start()
    return scorer


def scored_per_s(scorer: Scorer, world: World) -> float:
    """Completions scored per second of scoring so far, over all ranks; 0.0 before the first."""
    ranks = gather(world, (scorer.num_scored, scorer.seconds))
    return float(sum(scored / seconds for scored, seconds in ranks if seconds))


class RewardAdapter:
    """Holds the scores of the batch under way; `functions` are what GRPOTrainer gets as `reward_funcs`, in the order
    of `weights`.
    """

    def __init__(self, scorer: Scorer, reward_model: "ModelReward | None" = None, judge: "JudgeCalls | None" = None):
        self.scorer, self.reward_model, self.judge = scorer, reward_model, judge
        self.weights: dict[str, float] = {spec.name: spec.weight for spec in scorer.specs}
        if reward_model is not None:
            self.weights[REWARD_MODEL] = reward_model.weight
        if judge is not None:
            self.weights[JUDGE] = judge.weight
        self._batch: list[Any] | None = None
        self.completion_ids: list[list[int]] = []  # of the batch scored last, on this rank
        self._scores: Scores | None = None
        self._prepared: Scores | None = None
        self.functions = [self._function(name) for name in self.weights]

    def _function(self, name: str) -> Callable[..., list[float | None]]:
        def reward(
            prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], **columns: Any
        ) -> list[float | None]:
            if self._batch is not completions:
                self._scores = self._prepared or self.score(prompts, completions, completion_ids, columns)
                self._prepared = None
                self._batch = completions
                self.completion_ids = completion_ids
            assert self._scores is not None
            return self._scores.per_reward[name]

        reward.__name__ = name
        return reward

    def prepare(self, scores: Scores) -> None:
        """Give the next batch these scores: they were needed before TRL asks for them (`training.dynamic_sampling`)."""
        self._prepared = scores

    def score(
        self, prompts: list[Any], completions: list[Any], completion_ids: list[list[int]], columns: dict[str, Any]
    ) -> Scores:
        """Score this rank's completions, whatever form TRL or the data has them in."""
        own = {name: values for name, values in columns.items() if name not in TRL_EXTRAS}
        if COLUMN in columns:
            own[COLUMN] = [environment_state(world) for world in columns[COLUMN]]
        own["completion_tokens"] = [len(ids) for ids in completion_ids]
        texts = [assistant_text(completion) for completion in completions]
        scores = self.scorer.score(texts, [prompt_text(prompt) for prompt in prompts], own)
        if self.reward_model is not None:
            scores = self._with(scores, REWARD_MODEL, *self.reward_model.score(prompts, texts, own))
        if self.judge is not None:
            scores = self._with(scores, JUDGE, *self.judge.score_all(texts, prompts, own))
        return scores

    def _with(self, scores: Scores, name: str, values: list[float | None], raised: list[str | None]) -> Scores:
        """Add what scores beside the rewards; what it cannot score is unscorable for all, as with an error of one."""
        errors = [error or new for error, new in zip(scores.errors, raised, strict=True)]
        self.scorer.add_errors([new for error, new in zip(scores.errors, raised, strict=True) if new and not error])
        found = scores.per_reward | {name: values}
        per_reward = {each: [None if e else v for v, e in zip(of, errors, strict=True)] for each, of in found.items()}
        return Scores(per_reward, weighted_totals(per_reward, self.weights), errors)


def assistant_text(completion: Any) -> str:
    """What a completion ends with, as text: a string, or the last of its messages; "" where that is a tool's."""
    if isinstance(completion, str):
        return completion
    last = completion[-1]
    return str(last.get("content") or "") if last["role"] == "assistant" else ""


def transcript(completion: Any) -> str:
    """All of a completion as text: with tools, its calls and their answers between what it says."""
    if isinstance(completion, str) or len(completion) == 1:
        return assistant_text(completion) + _calls(completion[-1] if isinstance(completion, list) else {})
    return "\n".join(
        f"[{message['name']} answers] {message['content']}"
        if message["role"] == "tool"
        else str(message.get("content") or "") + _calls(message)
        for message in completion
    )


def _calls(message: dict[str, Any]) -> str:
    functions = [call["function"] for call in message.get("tool_calls") or [] if call.get("type") == "function"]
    return "".join(f"[calls {each['name']}({json.dumps(each['arguments'])})]" for each in functions)


def prompt_text(prompt: Any) -> str:
    """The last message's text, or the string itself."""
    return prompt if isinstance(prompt, str) else str(prompt[-1]["content"])
