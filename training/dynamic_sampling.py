"""Dynamic sampling (DAPO, arXiv 2503.14476, section 3.2): groups without signal are drawn again from fresh prompts.

All of it happens inside TRL's `rollout_func`, before TRL sees a completion: draw, score, see which groups have signal,
put others in the place of those that have none, until all have or the budget of `dynamic_sampling.max_extra` is spent.
TRL then gets one batch of its usual shape whose scores are known, so advantages, loss and denominators are TRL's own.
Every rank holds the rows it had; a group may lie on several ranks.

Where this departs from DAPO: the batch keeps its size when the budget is spent (DAPO draws on), and fresh prompts are
drawn by difficulty rather than taken in order.

Legend: G completions of a group; a round's rows are numbered over all ranks, those of a group side by side.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from training.context import StageContext
from training.decoded_text import decoded
from training.difficulty import PASS_RATES
from training.identity import derived_seed
from training.prompt_statistics import PromptStatistics
from training.reward_functions import RewardAdapter
from training.rewards.scoring import Scores
from training.samples import signal_rewards, silent_groups
from training.world import gather

PROMPT_ROW = "prompt_row"
"""The column of the data set that says which row it is."""

Draw = Callable[[list[Any], Any, str], tuple[list[list[int]], list[list[int]]]]
"""(prompts, trainer, name of the random numbers) -> (prompt ids, completion ids), one each a prompt."""


@dataclass
class Rows:
    """Some completions of this rank: their places in the rank's batch, the data set's rows, the tokens, the scores."""

    places: list[int]
    inputs: list[dict[str, Any]]
    prompt_ids: list[list[int]]
    completion_ids: list[list[int]]
    per_reward: dict[str, list[float | None]] = field(default_factory=dict)
    total: list[float | None] = field(default_factory=list)
    errors: list[str | None] = field(default_factory=list)


@dataclass
class Group:
    """A group over all ranks: the data set's row it was drawn from, and each completion's rewards and total."""

    row: int
    rewards: list[dict[str, float | None]]
    totals: list[float | None]


class DynamicSampling:
    """The state of one stage: the prompts' statistics, and the round under way."""

    def __init__(self, context: StageContext, adapter: RewardAdapter, dataset: Any, draw: Draw):
        self.context, self.adapter, self.dataset, self.draw = context, adapter, dataset, draw
        self.block = context.stage.dynamic_sampling
        self.statistics = PromptStatistics(len(dataset))
        self.inputs: list[dict[str, Any]] = []
        self.groups: list[Group] = []

    def begin(self, trainer: Any, batch: list[dict[str, Any]], round_number: int) -> list[dict[str, Any]]:
        """Return this rank's rows of a round: TRL's, or as many chosen by difficulty."""
        self.inputs = batch
        if self.block.order == "difficulty":
            size = trainer.num_generations
            prompts = len(batch) * self.context.world.size // size
            chosen = self.statistics.choose(prompts, (), self._seed(trainer, f"prompts:{round_number}"))
            if len(chosen) == prompts:
                first = self.context.world.rank * len(batch)
                self.inputs = [self.dataset[chosen[(first + place) // size]] for place in range(len(batch))]
        return self.inputs

    def fill(
        self, trainer: Any, round_number: int, prompt_ids: list[list[int]], completion_ids: list[list[int]]
    ) -> tuple[list[list[int]], list[list[int]]]:
        """Score what was drawn, replace groups without signal within the budget, and return what TRL is to train on."""
        size = trainer.num_generations
        mine = self._scored(trainer, Rows(list(range(len(self.inputs))), self.inputs, prompt_ids, completion_ids))
        found = self._gathered(mine, size)
        self.groups = [found[number] for number in sorted(found)]
        silent = self._silent(self.groups)
        log = trainer._metrics["train"]
        log["groups/without_signal_drawn"].append(len(silent) / len(self.groups))
        log["groups/reward_drawn"].append(mean_total(self.groups))
        left, tried, passes, replaced = int(self.block.max_extra * len(self.groups)), {g.row for g in self.groups}, 0, 0
        while silent and left:
            passes += 1
            name = f"{round_number}:{passes}"
            fresh = self.statistics.choose(min(len(silent), left), tried, self._seed(trainer, f"prompts:{name}"))
            if not fresh:
                break
            tried |= set(fresh)
            left -= len(fresh)
            replaced += self._refill(trainer, mine, dict(zip(silent, fresh, strict=False)), name)
            silent = self._silent(self.groups)
        log["groups/drawn"].append(len(tried))
        log["groups/replaced"].append(replaced)
        self.adapter.prepare(Scores(mine.per_reward, mine.total, mine.errors))
        return mine.prompt_ids, mine.completion_ids

    def _refill(self, trainer: Any, mine: Rows, fresh: dict[int, int], name: str) -> int:
        """Draw groups of fresh prompts in the place of silent ones; those with signal stay. Returns how many do."""
        size = trainer.num_generations
        first = self.context.world.rank * len(mine.inputs)
        places = [place for place in mine.places if (first + place) // size in fresh]
        inputs = [self.dataset[fresh[(first + place) // size]] for place in places]
        drawn = Rows(places, inputs, *self.draw([row["prompt"] for row in inputs], trainer, name))
        found = self._gathered(self._scored(trainer, drawn), size)
        silent = set(self._silent(list(found.values())))
        kept = {number: group for place, (number, group) in enumerate(found.items()) if place not in silent}
        for number, group in kept.items():
            self.groups[number] = group
        for index, place in enumerate(places):
            if (first + place) // size in kept:
                put(mine, place, drawn, index)
        return len(kept)

    def _scored(self, trainer: Any, rows: Rows) -> Rows:
        """Fill in the rows' scores; a rank may have no row in a refill."""
        if not rows.inputs:
            return rows
        texts = decoded(trainer, rows.prompt_ids, rows.completion_ids)
        names = [name for name in rows.inputs[0] if name not in ("prompt", "completion", PROMPT_ROW)]
        columns = {name: [row[name] for row in rows.inputs] for name in names}
        with self.context.ledger.timing("reward"):
            prompts = [row["prompt"] for row in rows.inputs]
            scores = self.adapter.score(prompts, texts, rows.completion_ids, columns)
        rows.per_reward, rows.total, rows.errors = scores.per_reward, scores.total, scores.errors
        return rows

    def _gathered(self, rows: Rows, size: int) -> dict[int, Group]:
        """The groups that the ranks' rows make up, by their number; their passes are counted."""
        first = self.context.world.rank * len(self.inputs)
        mine = [
            (
                first + place,
                rows.inputs[index][PROMPT_ROW],
                {name: values[index] for name, values in rows.per_reward.items()},
                rows.total[index],
            )
            for index, place in enumerate(rows.places)
        ]
        groups: dict[int, Group] = {}
        for place, row, rewards, total in sorted(
            (one for rank in gather(self.context.world, mine) for one in rank), key=lambda one: one[0]
        ):
            group = groups.setdefault(place // size, Group(row, [], []))
            group.rewards.append(rewards)
            group.totals.append(total)
        for group in groups.values():
            passed = [total >= self.block.pass_at_least for total in group.totals if total is not None]
            self.statistics.count(group.row, passed)
        return groups

    def _silent(self, groups: list[Group]) -> list[int]:
        """The places of the groups without signal."""
        if not groups:
            return []
        per_reward = {
            name: [value(rewards[name]) for group in groups for rewards in group.rewards]
            for name in groups[0].rewards[0]
        }
        totals = [value(total) for group in groups for total in group.totals]
        return silent_groups(signal_rewards(self.context.stage.signal, per_reward, totals), len(groups[0].totals))

    def _seed(self, trainer: Any, name: str) -> int:
        return derived_seed(trainer.args.seed, name)

    def prompts(self) -> Iterator[Any]:
        """The prompt of every completion of the round over all ranks, after what was replaced."""
        for group in self.groups:
            prompt = self.dataset[group.row]["prompt"]
            yield from [prompt] * len(group.totals)

    def write(self) -> None:
        """Leave the prompts' statistics in the stage's folder."""
        self.statistics.write(self.context.folder / PASS_RATES, self.dataset["prompt"])


def mean_total(groups: list[Group]) -> float:
    """Mean total reward of all completions that could be scored; NaN where none could."""
    totals = [total for group in groups for total in group.totals if total is not None]
    return sum(totals) / len(totals) if totals else float("nan")


def put(rows: Rows, place: int, source: Rows, index: int) -> None:
    """Copy one completion with its scores."""
    rows.inputs[place] = source.inputs[index]
    rows.prompt_ids[place] = source.prompt_ids[index]
    rows.completion_ids[place] = source.completion_ids[index]
    rows.total[place], rows.errors[place] = source.total[index], source.errors[index]
    for name, values in rows.per_reward.items():
        values[place] = source.per_reward[name][index]


def value(reward: float | None) -> float:
    """A reward as a number, NaN for none, as TRL has it."""
    return float("nan") if reward is None else reward
