"""samples.jsonl: what the policy said in each rollout round, with every reward, and how many groups gave signal."""

import math
from collections.abc import Callable
from typing import Any

from training.context import StageContext
from training.detectors.duplicates import duplicate_share
from training.json_lines import Appender
from training.metrics import cut_back
from training.reward_functions import RewardAdapter, prompt_text, scored_per_s, transcript
from training.world import gather

SAMPLES = "samples.jsonl"


class RoundLog:
    """Called by the GRPO trainer after each rollout round, on every rank; rank 0 writes."""

    def __init__(self, context: StageContext, adapter: RewardAdapter):
        self.context, self.adapter, self.scorer = context, adapter, adapter.scorer
        self.path = context.folder / SAMPLES
        self._file = Appender(self.path)
        self.newest: list[dict[str, Any]] = []
        """The rows of the newest round as they were written; rank 0 alone has them."""
        self._lines = 0
        self._cut = False

    def __call__(self, trainer: Any) -> None:
        """Write the round's completions and add its group signal to the step's metrics."""
        logs = trainer._logs
        rewards = {name: list(values) for name, values in logs["rewards"].items()}
        step = trainer.state.global_step + 1
        shown = signal_rewards(self.context.stage.signal, rewards, self._totals(rewards))
        size = trainer.num_generations
        silent = len(silent_groups(shown, size)) * size / len(logs["prompt"])
        trainer._metrics["train"]["groups/without_signal"].append(silent)
        trainer._metrics["train"]["reward/error_rate"].append(self.scorer.error_rate)
        prompts = list(logs["prompt"]) if trainer.dynamic is None else list(trainer.dynamic.prompts())
        said = [repr(prompt) for prompt in prompts], [transcript(text) for text in logs["completion"]]
        trainer._metrics["train"]["completions/duplicate_share"].append(duplicate_share(*said))
        trainer._metrics["train"]["perf/scored_per_s"].append(scored_per_s(self.scorer, self.context.world))
        ends = set(trainer.eos_token_ids)
        drawn = [(len(ids), ids[-1] not in ends) for ids in self.adapter.completion_ids]
        drawn = [one for rank in gather(self.context.world, drawn) for one in rank]
        if self.context.world.is_main:
            self._write(self._rows(trainer, prompts, rewards, drawn, step), step)

    def _rows(
        self,
        trainer: Any,
        prompts: list[Any],
        rewards: dict[str, list[float]],
        drawn: list[tuple[int, bool]],
        step: int,
    ) -> list[dict[str, Any]]:
        texts = [transcript(completion) for completion in trainer._logs["completion"]]
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
            for place, prompt in enumerate(prompts)
        ]

    def _write(self, rows: list[dict[str, Any]], step: int) -> None:
        if not self._cut:  # a resumed stage draws the rounds after its checkpoint again
            cut_back(self.path, step - 1)
            self._lines = self.path.read_bytes().count(b"\n") if self.path.is_file() else 0
            self._cut = True
        for row in rows:
            self._file.add(row)
        self.newest = rows
        self._lines += len(rows)
        shown = rows[: self.context.pipeline.runtime.log_completions]
        names = list(self.adapter.weights)
        table = [
            [row["prompt"], row["completion"], *(row["rewards"][n] for n in names), row["advantage"]] for row in shown
        ]
        self.context.tracker.table("completions", ["prompt", "completion", *names, "advantage"], table, step)

    def lines(self, chosen: Callable[[list[dict[str, Any]]], list[int]]) -> list[int]:
        """The lines of samples.jsonl, counted from 1, of the rows that `chosen` picks from the newest round."""
        first = self._lines - len(self.newest) + 1
        return [first + place for place in chosen(self.newest)]

    def _totals(self, rewards: dict[str, list[float]]) -> list[float]:
        columns = [[self.adapter.weights[name] * value for value in values] for name, values in rewards.items()]
        rows = [[value for value in row if value == value] for row in zip(*columns, strict=True)]
        return [sum(row) if row else math.nan for row in rows]


def signal_rewards(signal: list[str], rewards: dict[str, list[float]], totals: list[float]) -> dict[str, list[float]]:
    """The rewards that must differ inside a group: those named by `signal`, else the total."""
    return {name: rewards[name] for name in signal} or {"total": totals}


def silent_groups(rewards: dict[str, list[float]], group_size: int) -> list[int]:
    """The groups, by number, in which no named reward differs between completions; NaN, for None, is no value."""
    rows = len(next(iter(rewards.values())))
    return [
        start // group_size
        for start in range(0, rows, group_size)
        if all(len({v for v in values[start : start + group_size] if v == v}) <= 1 for values in rewards.values())
    ]


def _plain(value: float | None) -> float | None:
    return None if value is None or value != value else float(value)
