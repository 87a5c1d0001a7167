"""What `posttrain rewards` does: list the shipped rewards, or try those of a pipeline and print what they gave."""

import argparse
from typing import TYPE_CHECKING

from data.errors import UserError
from launch.without_model import open_without_model
from launch.words import table

if TYPE_CHECKING:
    from training.reward_trial import StageTrial

BARS = " ▁▂▃▄▅▆▇█"
BINS = 10


def print_rewards() -> None:
    """Print every shipped reward with its version, parameters and the columns it needs."""
    from training.rewards import REWARDS

    rows = []
    for reward in REWARDS.values():
        parameters = ", ".join(f"{name}={value}" for name, value in reward.parameters.items())
        rows.append([reward.name, str(reward.version), ", ".join(reward.columns) or "-", parameters or "-"])
    print(table(["reward", "version", "columns", "parameters"], rows))


def run_trial(arguments: argparse.Namespace) -> int:
    """Run the golden cases of a pipeline's shipped rewards and score completions made from its first rows.

    Raises UserError, exit code 2, where a case is not met or a reward cannot be trained on.
    """
    if arguments.rows < 1:
        raise UserError(f"--rows {arguments.rows}: give a whole number from 1 on")
    pipeline, plan = open_without_model(arguments)
    from training.reward_trial import stages_to_try, try_rewards

    stages = stages_to_try(pipeline, arguments.stage)
    specs = [spec for stage in stages for spec in stage.rewards if spec.callable is None]
    refused = golden_refusals(
        {spec.name: spec.params.get("sandbox") for spec in sorted(specs, key=lambda each: each.name)}
    )
    for trial in try_rewards(pipeline, plan, stages, arguments.rows):
        print(f"\n{trial_text(trial)}")
        refused += [
            f"stages.{trial.name}.rewards: {each.name}: {each.refusal}" for each in trial.rewards if each.refusal
        ]
    if refused:
        raise UserError("\n".join(refused))
    return 0


def golden_refusals(levels: dict[str, str | None]) -> list[str]:
    """Print how many golden cases each of these rewards meets; returns one line for each that is not met.

    `levels` are the sandbox levels that the config names, None where it names none.
    """
    from training.rewards.golden import CASES, unmet

    missed = list(unmet(levels))
    for name in levels:
        failed = sum(other == name for other, _, _ in missed)
        print(f"{name}: {len(CASES[name]) - failed} of {len(CASES[name])} golden cases met")
    return [f"{name}: the golden case {case.why!r} gave {found}, not {case.expected}" for name, case, found in missed]


def trial_text(trial: "StageTrial") -> str:
    """Return the distribution of each reward of a stage, and its mean by kind of completion."""
    if trial.reason:
        return f"{trial.name}: not tried: {trial.reason}"
    head = f"{trial.name}: {len(trial.probes)} completions made from {trial.num_rows} rows"
    spread = []
    for each in trial.rewards:
        values = [value for value in each.values if value is not None]
        errors = sum(error is not None for error in each.errors)
        none = len(each.values) - len(values) - errors
        figures = [min(values), sum(values) / len(values), max(values)] if values else []
        shown = [f"{figure:.3g}" for figure in figures] or ["-", "-", "-"]
        spread.append([each.name, str(len(values)), str(none), str(errors), *shown, histogram(values)])
    header = ["reward", "scored", "None", "errors", "min", "mean", "max", "from min to max"]
    kinds = list(dict.fromkeys(probe.kind for probe in trial.probes))
    means = [[kind, *(mean_of_kind(trial, place, kind) for place in range(len(trial.rewards)))] for kind in kinds]
    by_kind = table(["mean by completion", *(each.name for each in trial.rewards)], means)
    return f"{head}\n{table(header, spread)}\n\n{by_kind}"


def mean_of_kind(trial: "StageTrial", place: int, kind: str) -> str:
    """Return the mean of one reward over the completions of one kind, as text."""
    pairs = zip(trial.probes, trial.rewards[place].values, strict=True)
    values = [value for probe, value in pairs if probe.kind == kind and value is not None]
    return f"{sum(values) / len(values):.3g}" if values else "-"


def histogram(values: list[float]) -> str:
    """Return ten bars from the lowest to the highest value; one bar where all are equal."""
    if not values:
        return "-"
    low, high = min(values), max(values)
    if low == high:
        return BARS[-1]
    counts = [0] * BINS
    for value in values:
        counts[min(BINS - 1, int((value - low) / (high - low) * BINS))] += 1
    return "".join(BARS[-(-count * (len(BARS) - 1) // max(counts))] for count in counts)
