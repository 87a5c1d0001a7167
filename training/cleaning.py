"""A stage's rows without duplicates and without what the pipeline is measured on, as its data block asks.

Owns what "the suites" are: the questions that every suite and benchmark named by an evaluation can ask, whatever other
stages train on. A file or hub suite counts with all its rows, a generated one with the questions it asks before any is
replaced.
"""

from collections import defaultdict
from collections.abc import Callable
from typing import Any

from data.accounting import Rows
from data.contamination import Reference, Rule, contaminated
from data.dedup import exact_duplicates
from data.formats import convert
from data.near_dedup import near_duplicates
from data.normalise import row_segments
from data.sources import load_rows
from data.suites import suite_questions
from training.benchmarks.questions import benchmark_questions
from training.config import DataBlock, Pipeline
from training.config.data_cleaning import Decontaminate, against_benchmarks, against_files, against_suites
from training.environment import available_cores
from training.plan import data_seed

Pin = Callable[[str], str]


def cleaned(rows: Rows, block: Any, pipeline: Pipeline, system: str | None, pin: Pin | None) -> Rows:
    """Return the rows that `block` keeps; the others are in the account as duplicate, near_duplicate, contaminated.

    Each names what it repeats: the number of the row kept, or suite, item and the n-gram shared. `system` is the
    message that the pipeline puts before every row. Duplicates go first, so every row is told by its first reason.
    """
    if not block.cleans:
        return rows
    if block.dedup != "none":
        repeated = exact_duplicates(segments(rows, system))
        rows = rows.without({d.row: f"the same as row {rows.numbers[d.of]}" for d in repeated}, "duplicate")
    if block.dedup == "near":
        cores = max(1, available_cores() // pipeline.runtime.processes)  # every rank does the same work
        near = near_duplicates(segments(rows, system), block.near_threshold, cores)
        rows = rows.without(
            {d.row: f"similarity {d.similarity:.2f} with row {rows.numbers[d.of]}" for d in near},
            "near_duplicate",
        )
    if block.decontaminate is not None:
        rows = rows.without(contaminated_rows(rows, block.decontaminate, pipeline, system, pin), "contaminated")
    return rows


def contaminated_rows(
    rows: Rows, block: Decontaminate, pipeline: Pipeline, system: str | None, pin: Pin | None
) -> dict[int, str]:
    """Return the place of each row that holds what `block` guards, and what it shares with which items."""
    rule = Rule(block.ngram, block.short_ngram, block.overlap)
    found: dict[int, list[str]] = defaultdict(list)
    for match in contaminated(segments(rows, system), references(block, pipeline, pin), rule):
        found[match.row].append(f'{match.source} item {match.item}, {match.overlap:.0%} of it: "{match.ngram}"')
    return {place: "; ".join(items) for place, items in found.items()}


def segments(rows: Rows, system: str | None) -> list[list[str]]:
    """Return what is compared of each row: the texts of its messages, without the pipeline's own system message."""
    return [row_segments(row, system) for row in rows.rows]


def references(block: Decontaminate, pipeline: Pipeline, pin: Pin | None) -> list[Reference]:
    """Return everything that rows must not hold: the questions of suites and benchmarks, the prompts of the files."""
    found = suite_references(block, pipeline, pin)
    for name in against_benchmarks(block, pipeline.stages):
        found += benchmark_questions(name, pipeline.benchmarks[name], pin)
    for path in against_files(block):
        rows = convert(load_rows(DataBlock(path=path), 0), "prompt")
        for number, row in zip(rows.numbers, rows.rows, strict=True):
            asked = [message["content"] for message in row["prompt"] if message["role"] == "user"]
            found += [Reference(path, f"row {number}", text) for text in asked]
    return found


def suite_references(block: Decontaminate, pipeline: Pipeline, pin: Pin | None) -> list[Reference]:
    """Return the questions of the suites alone, which take neither a package nor another data set."""
    found: list[Reference] = []
    for name in against_suites(block, pipeline.stages):
        suite = pipeline.suites[name]
        whole = suite.data.generator is not None
        for item in suite_questions(name, suite, data_seed(pipeline, name), pin):
            found.append(Reference(f"suite {name}", item["item"], item["prompt"], whole))
    return found
