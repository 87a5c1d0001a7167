"""samples.jsonl: what the policy said in each rollout round, with every reward, and how many groups gave signal."""

import json
from typing import Any

from training.context import StageContext
from training.metrics import cut_back
from training.reward_functions import RewardAdapter, assistant_text, prompt_text
from training.tracker import NullTracker, Tracker
from training.world import gather


class RoundLog:
    """Called by the GRPO trainer after each rollout round, on every rank; rank 0 writes."""

    def __init__(self, context: StageContext, adapter: RewardAdapter):
        self.context, self.adapter, self.scorer = context, adapter, adapter.scorer
        self.path = context.folder / "samples.jsonl"
        self.tracker: Tracker = NullTracker()
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
        ends = set(trainer.eos_token_ids)
        drawn = [(len(ids), ids[-1] not in ends) for ids in self.adapter.completion_ids]
        drawn = [one for rank in gather(self.context.world, drawn) for one in rank]
        if self.context.world.is_main:
            self._write(self._rows(trainer, rewards, drawn, step), step)

    def _rows(
        self, trainer: Any, rewards: dict[str, list[float]], drawn: list[tuple[int, bool]], step: int
    ) -> list[dict[str, Any]]:
        texts = [assistant_text(completion) for completion in trainer._logs["completion"]]
        return [
            {
                "step": step,
                "prompt": prompt_text(prompt),
                "completion": texts[place],
                "rewards": {name: _plain(values[place]) for name, values in rewards.items()},
                "advantage": _plain(trainer._logs["advantages"][place]),
                "tokens": drawn[place][0],
                "truncated": drawn[place][1],
            }
            for place, prompt in enumerate(trainer._logs["prompt"])
        ]

    def _write(self, rows: list[dict[str, Any]], step: int) -> None:
        if not self._cut:  # a resumed stage draws the rounds after its checkpoint again
            cut_back(self.path, step - 1)
            self._cut = True
        with self.path.open("a") as sink:
            for row in rows:
                sink.write(json.dumps(row, ensure_ascii=False) + "\n")
        shown = rows[: self.context.pipeline.runtime.log_completions]
        names = [spec.name for spec in self.scorer.specs]
        table = [
            [row["prompt"], row["completion"], *(row["rewards"][n] for n in names), row["advantage"]] for row in shown
        ]
        self.tracker.table("completions", ["prompt", "completion", *names, "advantage"], table, step)

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
