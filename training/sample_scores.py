"""What the draws of a `sample` stage are worth: rewards, a reward model and a judge, weighted into one number."""

from typing import Any

from training.config.scorers import JUDGE, REWARD_MODEL
from training.context import StageContext
from training.judge import JudgeCalls
from training.model_reward import ModelReward, open_reward_model
from training.reward_functions import prompt_text, scored_per_s, stage_scorer
from training.rewards.scoring import Scores
from training.sample_draws import Draw, Row


class DrawScorer:
    """All that scores the draws of a stage on this rank."""

    def __init__(self, context: StageContext) -> None:
        stage = context.stage
        self.context, self.stage = context, stage
        self.scorer = stage_scorer(context) if stage.rewards else None
        self.judge = None if stage.judge is None else JudgeCalls(stage.judge, stage.max_error_rate)
        self._opened = None if stage.reward_model is None else open_reward_model(context, stage.dtype, cached=True)
        self.reward_model = None if self._opened is None else ModelReward(stage.reward_model, self._opened.score)

    def go_on(self, completions: int) -> None:
        """Count completions that an earlier attempt scored, none of them with an error."""
        for counting in (self.scorer, self.judge):
            if counting is not None:
                counting.num_completions += completions

    def scored_per_s(self) -> float | None:
        """Completions that the rewards scored in a second, over all ranks; None without rewards. A collective."""
        return None if self.scorer is None else scored_per_s(self.scorer, self.context.world)

    def close(self) -> None:
        """End the workers of the rewards and close the cache of the reward model."""
        if self.scorer is not None:
            self.scorer.close()
        if self._opened is not None:
            self._opened.close()

    def __call__(self, prompts: list[tuple[Row, list[Draw]]]) -> list[Row]:
        """Return the rows of some prompts with their draws scored under `draws`."""
        with self.context.ledger.timing("reward"):
            verified = self._verified(prompts)
            rows, start = [], 0
            for row, draws in prompts:
                rows.append(self._scored(row, draws, verified, start))
                start += len(draws)
        return rows

    def _verified(self, prompts: list[tuple[Row, list[Draw]]]) -> Scores | None:
        """The rewards of all draws of all prompts, one batch."""
        if self.scorer is None:
            return None
        owners = [(row, drawn) for row, draws in prompts for _, drawn in draws]
        texts = [drawn.text for _, drawn in owners]
        return self.scorer.score(texts, [prompt_text(row["prompt"]) for row, _ in owners], columns_of(owners))

    def _scored(self, row: Row, draws: list[Draw], verified: Scores | None, start: int) -> Row:
        """One prompt's row with its draws; its rewards begin at `start` in the batch."""
        texts = [drawn.text for _, drawn in draws]
        parts: dict[str, list[float | None]] = {}
        totals: list[list[float]] = [[] for _ in draws]
        errors: list[str | None] = [None] * len(draws)
        if verified is not None:
            window = slice(start, start + len(draws))
            parts = {name: values[window] for name, values in verified.per_reward.items()}
            errors = list(verified.errors[window])
            _add(totals, verified.total[window], 1.0)
        if self.reward_model is not None:
            columns = columns_of([(row, drawn) for _, drawn in draws])
            scores, raised = self.reward_model.score([row["prompt"]] * len(draws), texts, columns)
            parts[REWARD_MODEL] = scores
            errors = [error or new for error, new in zip(errors, raised, strict=True)]
            _add(totals, scores, self.reward_model.weight)
        if self.judge is not None:
            owners = [(row, drawn) for _, drawn in draws]
            columns = columns_of(owners) | {"conversation": [row["prompt"]] * len(draws)}
            values, reason = self.judge.score(texts, [prompt_text(row["prompt"])] * len(draws), columns)
            parts[JUDGE] = values
            errors = [error or reason for error in errors]
            _add(totals, values, self.stage.judge.weight)
        scored = []
        for place, (temperature, drawn) in enumerate(draws):
            rewards = {name: None if errors[place] else values[place] for name, values in parts.items()}
            total = sum(totals[place]) if totals[place] and errors[place] is None else None
            scored.append(_draw(temperature, drawn, total, rewards, errors[place]))
        return {**row, "draws": scored}


def _add(totals: list[list[float]], values: list[float | None], weight: float) -> None:
    for total, value in zip(totals, values, strict=True):
        total += [] if value is None else [weight * value]


def _draw(
    temperature: float, drawn: Any, total: float | None, rewards: dict[str, float | None], error: str | None
) -> dict[str, Any]:
    """A draw as draws.jsonl has it; an error of one scorer makes it unscorable for all."""
    scored = {
        "completion": drawn.text,
        "temperature": temperature,
        "tokens": drawn.tokens,
        "truncated": drawn.truncated,
        "reward": total,
        "rewards": rewards,
    }
    return scored if error is None else {**scored, "error": error}


def columns_of(owners: list[tuple[Row, Any]]) -> dict[str, list[Any]]:
    """The columns of each completion's row, and its length in tokens, as rewards and judges get them."""
    names = dict.fromkeys(name for row, _ in owners for name in row if name != "prompt")
    columns: dict[str, list[Any]] = {name: [row.get(name) for row, _ in owners] for name in names}
    columns["completion_tokens"] = [drawn.tokens for _, drawn in owners]
    return columns
