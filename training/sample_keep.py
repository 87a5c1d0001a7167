"""What a `sample` stage keeps of its scored draws: pairs, the best, or the prompts, and what it counts.

A draw without a text, whose model ended its turn at once, is in draws.jsonl and never in a row: no stage takes it. Nor
is one without a score.
"""

from collections.abc import Iterator
from typing import Any

from data.dedup import exact_duplicates
from data.normalise import row_segments
from training.difficulty import measured

Row = dict[str, Any]


def kept_rows(prompts: list[Row], stage: Any, system: str | None) -> tuple[list[Row], int]:
    """Return the rows that scored prompts leave, and how many more repeated one of them; the first of equals stays.

    Rows are equal when their normalised texts are (`data.dedup`); `system` is the pipeline's own message.
    """
    rows = [row for prompt in prompts for row in prompt_rows(prompt, stage)]
    repeated = {found.row for found in exact_duplicates(row_segments(row, system) for row in rows)}
    return [row for place, row in enumerate(rows) if place not in repeated], len(repeated)


def prompt_rows(prompt: Row, stage: Any) -> Iterator[Row]:
    """Yield the rows of one scored prompt, at most `rows_per_prompt`, each with the prompt's pass rate."""
    row = {**_without_draws(prompt), "pass_rate": pass_rate(prompt, stage.pass_at_least)["pass_rate"]}
    if stage.keep == "prompts":
        yield row
        return
    ranked = ranked_draws(prompt["draws"])
    if stage.keep == "best":
        for draw in [draw for draw in ranked if _is_good(draw, stage)][: stage.rows_per_prompt]:
            yield {**row, "completion": _assistant(draw), "reward": draw["reward"]}
        return
    for chosen, rejected in pairs(ranked, stage):
        yield {
            **row,
            "chosen": _assistant(chosen),
            "rejected": _assistant(rejected),
            "chosen_reward": chosen["reward"],
            "rejected_reward": rejected["reward"],
        }


def ranked_draws(draws: list[Row]) -> list[Row]:
    """Return the draws that can be kept, the best first, each text once."""
    usable = [draw for draw in draws if draw["reward"] is not None and draw["completion"].strip()]
    ranked = sorted(usable, key=lambda draw: -draw["reward"])
    first: dict[str, Row] = {}
    for draw in ranked:
        first.setdefault(draw["completion"].strip(), draw)
    return list(first.values())


def pairs(ranked: list[Row], stage: Any) -> list[tuple[Row, Row]]:
    """Return the best with the worst, the second best with the second worst and so on, as far as thresholds admit."""
    found = []
    for place in range(min(stage.rows_per_prompt, len(ranked) // 2)):
        chosen, rejected = ranked[place], ranked[-1 - place]
        apart = chosen["reward"] - rejected["reward"] >= stage.min_margin
        good = stage.chosen_at_least is None or chosen["reward"] >= stage.chosen_at_least
        bad = stage.rejected_at_most is None or rejected["reward"] <= stage.rejected_at_most
        if apart and good and bad:
            found.append((chosen, rejected))
    return found


def pass_rate(prompt: Row, pass_at_least: float) -> Row:
    """Return what pass_rates.jsonl says of a scored prompt: its own columns and how its draws did.

    `pass_rate` is the share of the scored draws whose reward reaches `pass_at_least`; None where none has a score.
    """
    rewards = [draw["reward"] for draw in prompt["draws"] if draw["reward"] is not None]
    passed = sum(reward >= pass_at_least for reward in rewards)
    return {
        **_without_draws(prompt),
        "num_draws": len(prompt["draws"]),
        **measured(len(rewards), passed),
        "mean_reward": sum(rewards) / len(rewards) if rewards else None,
    }


def summary(prompts: list[Row], kept: list[Row], duplicates: int, stage: Any) -> dict[str, Any]:
    """Counts and means over all draws, for the record and the report."""
    draws = [draw for prompt in prompts for draw in prompt["draws"]]
    silent = sum(len({draw["reward"] for draw in prompt["draws"]}) == 1 for prompt in prompts)
    rates = [pass_rate(prompt, stage.pass_at_least)["pass_rate"] for prompt in prompts]
    known = [rate for rate in rates if rate is not None]
    found: dict[str, Any] = {
        "prompts": len(prompts),
        "draws": len(draws),
        "kept": len(kept),
        "duplicates": duplicates,
        "prompts_without_signal": silent,
        "mean_reward": _mean_reward(draws),
        "mean_pass_rate": sum(known) / len(known) if known else None,
        "unscored": sum(draw["reward"] is None for draw in draws),
        "empty_completions": sum(not draw["completion"].strip() for draw in draws),
        "truncated": sum(draw["truncated"] for draw in draws) / len(draws),
        "mean_tokens": sum(draw["tokens"] for draw in draws) / len(draws),
    }
    if isinstance(stage.temperature, list):
        found["mean_reward_at"] = {
            f"{value:g}": _mean_reward([draw for draw in draws if draw["temperature"] == value])
            for value in stage.temperature
        }
    return found


def _mean_reward(draws: list[Row]) -> float:
    rewards = [draw["reward"] for draw in draws if draw["reward"] is not None]
    return sum(rewards) / len(rewards) if rewards else 0.0


def _is_good(draw: Row, stage: Any) -> bool:
    return draw["reward"] > 0 if stage.chosen_at_least is None else draw["reward"] >= stage.chosen_at_least


def _without_draws(prompt: Row) -> Row:
    return {name: value for name, value in prompt.items() if name != "draws"}


def _assistant(draw: Row) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": draw["completion"]}]
