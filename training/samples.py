"""samples.jsonl: what the policy said in each rollout round, with every reward, and how many groups gave signal."""

import json
from typing import Any

from training.context import StageContext
from training.metrics import cut_back
from training.reward_functions import assistant_text, prompt_text
from training.rewards.scoring import Scorer


class RoundLog:
    """Called by the GRPO trainer after each rollout round, on every rank; rank 0 writes."""

    def __init__(self, context: StageContext, scorer: Scorer):
        self.context, self.scorer = context, scorer
        self.path = context.folder / "samples.jsonl"
        self.tracker: Any = None
        self._cut = False

    def __call__(self, trainer: Any) -> None:
        """Write the round's completions and add its group signal to the step's metrics."""
        logs = trainer._logs
        rewards = {name: list(values) for name, values in logs["rewards"].items()}
        step = trainer.state.global_step + 1
        signal = self.context.stage.signal
        shown = rewards if signal else {"total": self._totals(rewards)}
        silent = silent_groups({name: shown[name] for name in signal or shown}, trainer.num_generations)
        trainer._metrics["train"]["groups/without_signal"].append(silent)
        trainer._metrics["train"]["reward/error_rate"].append(self.scorer.error_rate)
        if not self.context.world.is_main:
            return
        if not self._cut:
            cut_back(self.path, step - 1)
            self._cut = True
        limit = trainer.args.max_completion_length
        tokens = [len(trainer.processing_class(assistant_text(c))["input_ids"]) + 1 for c in logs["completion"]]
        with self.path.open("a") as sink:
            for place, (prompt, completion) in enumerate(zip(logs["prompt"], logs["completion"], strict=True)):
                row = {
                    "step": step,
                    "prompt": prompt_text(prompt),
                    "completion": assistant_text(completion),
                    "rewards": {name: _plain(values[place]) for name, values in rewards.items()},
                    "advantage": _plain(logs["advantages"][place]),
                    "tokens": tokens[place],
                    "truncated": tokens[place] > limit,
                }
                sink.write(json.dumps(row, ensure_ascii=False) + "\n")

    def _totals(self, rewards: dict[str, list[float]]) -> list[float]:
        weights = {spec.name: spec.weight for spec in self.scorer.specs}
        columns = [[weights[name] * value for value in values] for name, values in rewards.items()]
        return [sum(value for value in row if value == value) for row in zip(*columns, strict=True)]


def silent_groups(rewards: dict[str, list[float]], group_size: int) -> float:
    """Share of groups in which no named reward differs between completions (None, kept as NaN, is no value)."""
    rows = len(next(iter(rewards.values())))
    groups = range(0, rows, group_size)
    silent = sum(
        all(len({v for v in values[start : start + group_size] if v == v}) <= 1 for values in rewards.values())
        for start in groups
    )
    return silent / len(groups)


def _plain(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)
