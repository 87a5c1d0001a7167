"""The generalisation part of an evaluation: what is asked, and what the answers say about recall and transfer.

A model is judged on the rows, families and parameters that its own ancestors trained on; the base, which trained on
nothing, on all of them: its gaps show what the parts differ by without training.
"""

from collections.abc import Collection, Sequence
from typing import Any

from data.formats import normalise
from data.generalisation import (
    PARTS,
    Item,
    counts_for,
    fresh_items,
    harder_items,
    raised_parameters,
    reworded_items,
    suite_of,
    trained_items,
    unseen_families,
    unseen_items,
)
from training.config.generalisation import NAME, Generalisation, trained_families
from training.context import StageContext
from training.estimates import difference, paired_difference
from training.identity import derived_seed
from training.plan import data_seed
from training.plan_parents import ancestors
from training.rates import accuracy, by_family
from training.record import read_record
from training.trained_rows import families_with_rows, trained_prompts

OF_ROWS = (suite_of("trained"), suite_of("reworded"))
"""The suites of rows that were trained on, which share names."""


def generalisation_items(context: StageContext, taken: set[str]) -> tuple[list[Item], dict[str, Any]]:
    """Return the items of all five parts, and what stands in the record of how the harder ones were made.

    `taken` are normalised prompts that no new instance may equal: what stages train on or choose by.
    """
    block: Generalisation = context.stage.generalisation
    seed = data_seed(context.pipeline, NAME)
    families = families_with_rows(context)
    trained = trained_items(families, block.items, seed)
    known = trained_families(context.pipeline.stages)
    raised, left_out = raised_parameters(known, block.harder)
    unseen = unseen_families(known) if block.unseen is None else block.unseen
    items = [
        *trained,
        *reworded_items(trained),
        *fresh_items(families, block.items, derived_seed(seed, "fresh"), taken),
        *harder_items(raised, families, block.items, derived_seed(seed, "harder"), taken),
        *unseen_items(unseen, block.items, derived_seed(seed, "unseen"), taken),
    ]
    return items, {"harder": raised, "not_harder": left_out}


def generalisation_metrics(
    context: StageContext, items: Sequence[Item], rows: Sequence[dict[str, Any]], made: dict[str, Any]
) -> dict[str, Any]:
    """The block `generalisation` of an evaluation's metrics; `rows` are the judged answers to `items`, in order.

    `n` counts all that were asked, a part's own `n` those that count for this model.
    """
    own = ancestors(context.pipeline, context.parent_name)
    trained_by = own & {stage for item in items for stage in item["stages"] or ()}
    counted = list(rows)
    if trained_by:
        prompts = trained_prompts(context, trained_by)
        trained = {
            item["item"]
            for item in items
            if item["suite"] == suite_of("trained") and normalise(item["prompt"]) in prompts
        }
        counted = [
            row
            for item, row in zip(items, rows, strict=True)
            if counts_for(trained_by, item["stages"]) and (item["suite"] not in OF_ROWS or item["item"] in trained)
        ]
    tokens = sum(row["tokens"] for row in rows) / len(rows)
    asked = {"n": len(rows), "mean_tokens": tokens}
    return {**asked, **summarise_parts(counted), "trained_by": passes(context, trained_by), **made}


def passes(context: StageContext, stages: Collection[str]) -> dict[str, float | None]:
    """How often each stage went through its rows (epochs); None for a stage that draws and does not train."""
    records = {name: read_record(context.folder_of(name)) or {} for name in sorted(stages)}
    return {name: record.get("metrics", {}).get("epoch") for name, record in records.items()}


def summarise_parts(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Rates of the five parts with 95 % intervals, and the gaps between them; a part without items is None.

    memorisation_gap: trained minus fresh, two sets of questions. rewording_gap: trained minus reworded, paired on the
    row. difficulty_gap: fresh minus harder.
    """
    outcomes = {part: _outcomes(rows, part) for part in PARTS}
    return {
        "parts": {part: _rates([row for row in rows if row["suite"] == suite_of(part)]) for part in PARTS},
        "memorisation_gap": _unpaired(outcomes["trained"], outcomes["fresh"]),
        "rewording_gap": _paired(outcomes["trained"], outcomes["reworded"]),
        "difficulty_gap": _unpaired(outcomes["fresh"], outcomes["harder"]),
    }


def _outcomes(rows: Sequence[dict[str, Any]], part: str) -> dict[str, int]:
    return {row["item"]: row["correct"] for row in rows if row["suite"] == suite_of(part)}


def _rates(rows: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    return {**accuracy(rows), **by_family(rows)} if rows else None


def _unpaired(first: dict[str, int], second: dict[str, int]) -> dict[str, Any] | None:
    if not first or not second:
        return None
    gain, low, high = difference(sum(second.values()), len(second), sum(first.values()), len(first))
    return {"difference": gain, "ci95": [low, high], "n": [len(first), len(second)]}


def _paired(first: dict[str, int], second: dict[str, int]) -> dict[str, Any] | None:
    if not first:
        return None
    gain, low, high = paired_difference([second[item] for item in first], list(first.values()))
    return {"difference": gain, "ci95": [low, high], "n": len(first)}
