"""`posttrain rewards test`: what a stage's rewards give to completions made from its first rows, before any run.

From each row: its answer in a tag and bare, its own reference text, the next row's answer, nothing, the prompt
repeated, another language, and a completion as long as the stage allows. Rewards that cannot tell any of these apart,
that apply to none or fail on all are refused: training on them teaches nothing.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from data.errors import UserError
from training.config import Pipeline
from training.config.trainer_fields import default
from training.environments import environment_columns, reset_states
from training.pins import Pins
from training.plan import RunPlan, data_seed
from training.record import read_record
from training.reward_functions import prompt_text
from training.rewards.pool import Limits
from training.rewards.resolve import reward_of
from training.rewards.scoring import Scorer
from training.rows import source_rows

REFERENCES = ("completion", "chosen", "solution")
"""Columns that may hold a text written for the prompt, in the order they are looked for."""

FOREIGN = "Это предложение написано на другом языке, чем вопрос."


@dataclass(frozen=True)
class Probe:
    """A completion made from a row; `kind` says how."""

    kind: str
    row: int
    completion: str
    tokens: int


@dataclass
class RewardTrial:
    """What one reward gave to the probes, in their order; `refusal` is why it cannot be trained on."""

    name: str
    values: list[float | None]
    errors: list[str | None]
    refusal: str | None = None


@dataclass
class StageTrial:
    """The trial of one stage's rewards; `reason` says why its rows could not be read, where they could not."""

    name: str
    num_rows: int = 0
    probes: list[Probe] = field(default_factory=list)
    rewards: list[RewardTrial] = field(default_factory=list)
    reason: str = ""


def stages_to_try(pipeline: Pipeline, only: str | None) -> list[Any]:
    """Return the stages with rewards, or the one named `only`; UserError where there is none."""
    stages: list[Any] = [stage for stage in pipeline.stages if getattr(stage, "rewards", None)]
    chosen = [stage for stage in stages if only in (None, stage.name)]
    if not chosen:
        names = ", ".join(stage.name for stage in stages) or "none"
        raise UserError(f"no stage {only or ''} with rewards; the stages with rewards are {names}".replace("  ", " "))
    return chosen


def try_rewards(pipeline: Pipeline, plan: RunPlan, stages: list[Any], num_rows: int) -> Iterator[StageTrial]:
    """Yield the trial of each of the stages."""
    for stage in stages:
        trial = StageTrial(stage.name)
        waits_for = [name for name in stage.data.stages if read_record(plan[name].folder) is None]
        if waits_for:
            trial.reason = f"its rows are made by stage {waits_for[0]}, which has not run"
        else:
            rows = reset_states(stage, first_rows(pipeline, plan, stage, num_rows))
            trial.num_rows = len(rows)
            trial.probes = [probe for number in range(len(rows)) for probe in probes(rows, number, longest(stage))]
            trial.rewards = [try_one(pipeline, stage, spec, rows, trial.probes) for spec in stage.rewards]
        yield trial


def first_rows(pipeline: Pipeline, plan: RunPlan, stage: Any, num_rows: int) -> list[dict[str, Any]]:
    """Return the first rows of a stage; a generator makes no more than those."""
    block = stage.data
    if block.generator is not None and block.generator.rows is not None:
        fewer = block.generator.model_copy(update={"rows": min(num_rows, block.generator.rows)})
        stage = stage.model_copy(update={"data": block.model_copy(update={"generator": fewer})})
    system = stage.system if stage.system is not None else pipeline.system
    pins = Pins(plan.pins, pipeline.offline)
    found = source_rows(stage, data_seed(pipeline, stage.name), system, lambda name: plan[name].folder, pins.dataset)
    return found.rows[:num_rows]


def longest(stage: Any) -> int:
    """The longest completion that a stage draws, in tokens."""
    if stage.kind == "grpo":
        return int(stage.trainer.get("max_completion_length", default("grpo", "max_completion_length")))
    return int(stage.max_completion_length)


def probes(rows: list[dict[str, Any]], number: int, max_tokens: int) -> Iterator[Probe]:
    """Yield the completions made from one row; tokens are counted as words, which is near enough for a trial."""
    row, other = rows[number], rows[(number + 1) % len(rows)]
    texts: list[tuple[str, Any]] = [
        ("answer tagged", _tagged(row.get("answer"))),
        ("answer bare", row.get("answer")),
        ("reference", next((reference_text(row[name]) for name in REFERENCES if row.get(name)), None)),
        ("another answer", _tagged(other.get("answer")) if other is not row else None),
        ("empty", ""),
        ("prompt repeated", prompt_text(row["prompt"])),
        ("another language", FOREIGN),
    ]
    for kind, text in texts:
        if text is not None:
            yield Probe(kind, number, str(text), min(max_tokens, len(str(text).split()) + 1))
    yield Probe("longest", number, "again " * max_tokens, max_tokens)


def reference_text(value: Any) -> str:
    """The text of a reference, stored as a text or as messages."""
    return value if isinstance(value, str) else str(value[-1]["content"])


def try_one(pipeline: Pipeline, stage: Any, spec: Any, rows: list[dict[str, Any]], made: list[Probe]) -> RewardTrial:
    """Score every probe with one reward alone, in workers as in the stage; no probe acts in an environment."""
    runtime, reward = pipeline.runtime, reward_of(spec)
    reward.require(reward.parameters)
    limits = Limits(runtime.reward_workers or 1, runtime.reward_time_limit, runtime.reward_memory_gb)
    scorer = Scorer([spec], 1.0, limits)
    names = {name for row in rows for name in row if name != "prompt"}
    columns = {name: [rows[probe.row].get(name) for probe in made] for name in names}
    columns["completion_tokens"] = [probe.tokens for probe in made]
    try:
        scores = scorer.score([p.completion for p in made], [prompt_text(rows[p.row]["prompt"]) for p in made], columns)
    finally:
        scorer.close()
    trial = RewardTrial(spec.name, scores.per_reward[spec.name], scores.errors)
    may_read_the_state = spec.callable is not None and bool(environment_columns(stage))
    trial.refusal = refusal(trial, reward.probed and not may_read_the_state)
    return trial


def refusal(trial: RewardTrial, probed: bool) -> str | None:
    """Why a reward cannot be trained on, or None."""
    total = len(trial.values)
    errors = [error for error in trial.errors if error is not None]
    values = [value for value in trial.values if value is not None]
    if len(errors) == total:
        return f"it fails on all of {total} completions; most often: {Counter(errors).most_common(1)[0][0]}"
    if not values:
        return f"it applies to none of {total} completions: is the column it compares with null in every row?"
    if probed and len(set(values)) == 1:
        return f"it gives {values[0]:g} to every completion it scores: the policy can learn nothing from it"
    return None


def _tagged(answer: Any) -> str | None:
    return None if answer is None else f"<answer>{answer}</answer>"
