"""A stage's rows from several sources: read apart, cleaned and held out together, then drawn and interleaved.

Rows are numbered through the sources in their order, so that one account holds them all. A row drawn twice is one row
kept and one repeated: rows in + repeated = rows kept + dropped.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from data.accounting import Account, Rows
from data.doctor.examination import Examination
from data.mixing import Drawn, Share, counted, epoch_lines, mixed_order, quotas, same_columns
from training.config import Pipeline
from training.estimate.batch_algebra import num_rows, sizes_of


@dataclass(frozen=True)
class MixedRows(Rows):
    """The rows of several sources; `starts[i]` is the number of the first row of source i, called `names[i]`."""

    names: tuple[str, ...] = ()
    starts: tuple[int, ...] = ()
    drawn: tuple[Drawn, ...] = ()


def source_names(block: Any) -> list[str]:
    """Return what the sources of a mixture are called: by where they come from, numbered where that is the same."""
    words = [part.source_in_words for part in block.mix]
    return [word if words.count(word) == 1 else f"{word} ({number})" for number, word in enumerate(words)]


def joined_sources(parts: Sequence[Rows], names: Sequence[str]) -> MixedRows:
    """Return the rows of all sources as one, with one account; UserError where a column differs in type."""
    account = Account("mix")
    starts: list[int] = []
    numbers: list[int] = []
    for part in parts:
        start = len(account.origin)
        starts.append(start)
        account.origin.extend(part.account.origin)
        account.num_bad += part.account.num_bad
        account.dropped += [replace(row, number=start + row.number) for row in part.account.dropped]
        numbers += [start + number for number in part.numbers]
    rows = [row for rows in same_columns([part.rows for part in parts], names) for row in rows]
    source = {"mix": [part.source for part in parts]}
    return MixedRows(rows, source, account.rows_in, account, numbers, names=tuple(names), starts=tuple(starts))


def mixture(rows: MixedRows, block: Any, seed: int) -> MixedRows:
    """Return one epoch of the mixture that `block` asks for; rows that it does not use are dropped as not_drawn."""
    pools: list[list[int]] = [[] for _ in rows.names]
    for place, number in enumerate(rows.numbers):
        pools[bisect_right(rows.starts, number) - 1].append(place)
    available = [len(pool) for pool in pools]
    shares = [Share(name, part.rows, part.weight) for name, part in zip(rows.names, block.mix, strict=True)]
    order = mixed_order(available, quotas(shares, available, block.mix_rows), seed)[: block.limit]
    drawn = counted(rows.names, order, available)
    places = [pools[source][row] for source, row in order]
    used = set(places)
    for place in range(len(rows.rows)):
        if place not in used:
            rows.account.drop(rows.numbers[place], "not_drawn")
    rows.account.check_kept(len(used))
    facts = [
        {**source, "name": part.name, "available": part.available, "drawn": part.rows, "passes": round(part.passes, 4)}
        for source, part in zip(rows.source["mix"], drawn, strict=True)
    ]
    return replace(
        rows,
        rows=[rows.rows[place] for place in places],
        numbers=[rows.numbers[place] for place in places],
        source={"mix": facts},
        drawn=tuple(drawn),
    )


def seen_lines(pipeline: Pipeline, stage: Any, rows: Rows) -> list[str]:
    """Return how often training sees each source of a mixture, a sentence a source; none without a mixture."""
    if not isinstance(rows, MixedRows):
        return []
    epochs = sizes_of(stage, pipeline.runtime, len(rows.rows), False).epochs
    return epoch_lines(rows.drawn, len(rows.rows), 1.0 if epochs is None else epochs)


def planned_lines(pipeline: Pipeline, stage: Any) -> list[str]:
    """Return the same before any data is read, where the config says how many rows every source has."""
    block = stage.data
    if block.mix is None:
        return []
    known = [_rows_there(pipeline, part) for part in block.mix]
    available = [rows for rows in known if rows is not None]
    names = source_names(block)
    if len(available) < len(known):
        return []
    shares = [Share(name, part.rows, part.weight) for name, part in zip(names, block.mix, strict=True)]
    counts = quotas(shares, available, block.mix_rows)
    drawn = [Drawn(*facts) for facts in zip(names, available, counts, strict=True)]
    epochs = None
    if stage.kind != "sample":
        epochs = sizes_of(stage, pipeline.runtime, min(sum(counts), block.limit or sum(counts)), False).epochs
    return epoch_lines(drawn, sum(counts), 1.0 if epochs is None else epochs)


def _rows_there(pipeline: Pipeline, part: Any) -> int | None:
    """How many rows a source has; None where only its data can tell: a limit is none of their number."""
    if part.generator is None and part.stage is None:
        return None
    return num_rows(pipeline, part)[0]


def findings_by_source(rows: Rows, found: Examination) -> dict[str, dict[str, Any]]:
    """Return, for each source of a mixture, its rows and how many of them have each flag and note; {} without one.

    A row that the mixture holds twice counts twice, as it does in `found`.
    """
    if not isinstance(rows, MixedRows):
        return {}

    def by_source(numbers: Sequence[int]) -> Counter[str]:
        return Counter(rows.names[bisect_right(rows.starts, number) - 1] for number in numbers)

    held = by_source(rows.numbers)
    tallies = {
        kind: {finding: by_source(numbers) for finding, numbers in findings.items()}
        for kind, findings in (("flagged", found.flagged), ("noted", found.noted))
    }
    return {
        name: {"rows": held[name]}
        | {
            kind: {finding: by_name[name] for finding, by_name in findings.items() if by_name[name]}
            for kind, findings in tallies.items()
        }
        for name in rows.names
    }


def source_words(facts: dict[str, Any]) -> str:
    """Say what `findings_by_source` has of one source: its rows, and what was found in them."""
    counts = [f"{count} {finding}" for kind in ("flagged", "noted") for finding, count in facts[kind].items()]
    return f"{facts['rows']} rows, {', '.join(counts) or 'nothing found'}"
