"""`data.difficulty`: rows whose prompt a model answered neither too often nor too rarely, by measured pass rates."""

from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.accounting import Rows
from data.errors import UserError
from data.files import read_rows
from data.home import from_home
from data.normalise import prompt_text
from training.config.scorers import stage_named

PASS_RATES = "pass_rates.jsonl"
"""The file in which a `sample` stage, and a `grpo` stage with dynamic sampling, leaves the pass rate of its prompts."""

Row = dict[str, Any]


def measured(num_scored: int, num_passed: int) -> Row:
    """Return what PASS_RATES says of a prompt's completions; `pass_rate` is None where none could be scored."""
    rate = num_passed / num_scored if num_scored else None
    return {"num_scored": num_scored, "num_passed": num_passed, "pass_rate": rate}


def within_difficulty(rows: Rows, block: Any, stage_folder: Callable[[str], Path] | None) -> Rows:
    """Return the rows whose prompt's pass rate lies in the bounds of `block.difficulty`.

    The others are in the account as too_hard, too_easy or not_measured. UserError where no row has a pass rate.
    """
    bounds = block.difficulty
    if bounds is None:
        return rows
    rates = own_rates(rows.rows) if bounds.measured_by is None else measured_rates(rows.rows, bounds, stage_folder)
    if all(rate is None for rate in rates):
        raise UserError(
            "difficulty: no row has a pass rate; take the rows of a sample stage, or name the stage that measured "
            "these prompts: measured_by: stage:NAME"
        )
    rate_of_number = dict(zip(rows.numbers, rates, strict=True))
    for reason, applies in (
        ("not_measured", lambda rate: rate is None),
        ("too_hard", lambda rate: rate < bounds.at_least),
        ("too_easy", lambda rate: rate > bounds.at_most),
    ):
        own = [(place, rate_of_number[number]) for place, number in enumerate(rows.numbers)]
        found = [(place, rate) for place, rate in own if applies(rate)]
        rows = rows.without({place: "" if rate is None else f"pass rate {rate:.3f}" for place, rate in found}, reason)
    return rows


def own_rates(rows: list[Row]) -> list[float | None]:
    """Return what the rows' own column `pass_rate` says."""
    return [rate_of(row, f"row {number}") for number, row in enumerate(rows)]


def measured_rates(rows: list[Row], bounds: Any, stage_folder: Callable[[str], Path] | None) -> list[float | None]:
    """Return the pass rate that was measured for each row's prompt; a prompt measured twice has the mean."""
    name = stage_named(bounds.measured_by)
    if name is not None:
        assert stage_folder is not None, "a stage's pass rates were asked for without a way to find its folder"
        path = stage_folder(name) / PASS_RATES
    else:
        path = from_home(bounds.measured_by)
    known: dict[str, list[float]] = defaultdict(list)
    for number, row in enumerate(read_rows(path)):
        rate = rate_of(row, f"{path} row {number}")
        if rate is not None and "prompt" in row:
            known[question(row)].append(rate)
    found = [known.get(question(row)) for row in rows]
    return [None if rates is None else sum(rates) / len(rates) for rates in found]


def rate_of(row: Row, where: str) -> float | None:
    """Return a row's pass rate, None where it has none; UserError for what is none."""
    rate = row.get("pass_rate")
    if rate is None:
        return None
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 <= rate <= 1:
        raise UserError(f"difficulty: {where} has pass_rate {rate!r}; it is a share from 0 to 1")
    return float(rate)


def question(row: Row) -> str:
    """Return the normalised prompt without its system message, which says nothing about what is asked."""
    prompt = row["prompt"]
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    return prompt_text({"prompt": [message for message in prompt if message["role"] != "system"]})
