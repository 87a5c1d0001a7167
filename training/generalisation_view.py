"""Generalisation of every model of a run as plain rows: accuracy by part, the gaps, and the transfer over the base.

Transfer is the paired change over the base on questions that training cannot have shown: fresh and harder instances
and unseen families. Read by the summary, the report and an evaluation's own lines; reads records and items.jsonl.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from data.generalisation import PARTS, counts_for, suite_of
from training.config.generalisation import NAME
from training.estimates import paired_difference
from training.report.collect import RunView, StageView

GAPS = {
    "memorisation_gap": "memorisation gap (trained over fresh)",
    "rewording_gap": "rewording gap (trained over the same reworded)",
    "difficulty_gap": "difficulty gap (fresh over harder)",
}
TRANSFER_PARTS = ("fresh", "harder", "unseen")


@dataclass(frozen=True)
class GeneralisationRow:
    """One model: `parts` holds accuracy, ci95 and n by part (None where it has no items), `gaps` difference, ci95, n.

    `transfer` holds (gain, low, high, n) over the base by part, paired on the same questions; {} for the base.
    """

    model: str
    parts: dict[str, dict[str, Any] | None]
    gaps: dict[str, dict[str, Any] | None]
    trained_by: dict[str, float | None]
    transfer: dict[str, tuple[float, float, float, int]]


def generalisation_rows(run: RunView) -> list[GeneralisationRow]:
    """Return a row for each model whose finished evaluation asked it, the base first."""
    asked = [(model.name, stage) for model in run.models if (stage := _evaluation(run, model.name)) is not None]
    base = next((stage for name, stage in asked if name == "base"), None)
    theirs = {} if base is None else _outcomes(base)
    return [_row(name, stage, {} if name == "base" else theirs) for name, stage in asked]


def generalisation_lines(block: Mapping[str, Any]) -> Iterator[str]:
    """The block of one evaluation in words."""
    parts = [f"{part} {_share(found)}" for part in PARTS if (found := block["parts"][part])]
    yield f"generalisation: {', '.join(parts)}"
    for key, words in GAPS.items():
        if block[key] is not None:
            yield f"{words}: {gap_in_words(block[key])}"
    thin = [f"{name} {passes:.2g}" for name, passes in block["trained_by"].items() if passes is not None and passes < 1]
    if thin:
        yield f"not every row was trained on, so the gaps are too small; passes over the rows: {', '.join(thin)}"


def gap_in_words(gap: Mapping[str, Any]) -> str:
    """A difference in points with its interval."""
    low, high = gap["ci95"]
    return f"{100 * gap['difference']:+.1f} points, 95 % interval {100 * low:+.1f} to {100 * high:+.1f}"


def _share(found: Mapping[str, Any]) -> str:
    return f"{100 * found['accuracy']:.1f} % (n={found['n']})"


def _evaluation(run: RunView, model: str) -> StageView | None:
    """The first finished evaluation of a model that asked it."""
    return next((stage for stage in run.evaluations(model) if _block(stage) is not None), None)


def is_generalisation(name: str, found: Any) -> bool:
    """Whether an entry of an evaluation's metrics is this block, and not a suite of that name."""
    return name == NAME and isinstance(found, dict) and "parts" in found


def _block(stage: StageView) -> dict[str, Any] | None:
    found = ((stage.record or {}).get("metrics") or {}).get(NAME)
    return found if is_generalisation(NAME, found) else None


def _row(model: str, stage: StageView, theirs: dict[str, dict[str, int]]) -> GeneralisationRow:
    block = _block(stage)
    assert block is not None
    transfer = {}
    for part, mine in (_outcomes(stage, block["trained_by"]) if theirs else {}).items():
        shared = [item for item in mine if item in theirs.get(part, {})]
        if part in TRANSFER_PARTS and shared:
            before, after = [theirs[part][item] for item in shared], [mine[item] for item in shared]
            transfer[part] = (*paired_difference(before, after), len(shared))
    return GeneralisationRow(model, block["parts"], {key: block[key] for key in GAPS}, block["trained_by"], transfer)


def _outcomes(stage: StageView, own: Collection[str] = ()) -> dict[str, dict[str, int]]:
    """Part -> item -> right or wrong, of the items that belong to a model that the stages `own` trained; () is all."""
    found: dict[str, dict[str, int]] = {part: {} for part in PARTS}
    suites = {suite_of(part): part for part in PARTS}
    for row in stage.items:
        if row["suite"] in suites and (not own or counts_for(own, row.get("stages"))):
            found[suites[row["suite"]]][row["item"]] = row["correct"]
    return found
