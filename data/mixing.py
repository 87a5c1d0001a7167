"""Several sources in one: how many rows of each, which ones, and in which order.

Every source's rows are drawn in whole passes, each a new shuffle, so none is seen a third time before all are seen
twice. The order interleaves the sources evenly: any long stretch holds each in its share. Both follow from the seed.
"""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from data.errors import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class Share:
    """What the mixture asks of one source: so many rows, or a weight, or (neither) all it has."""

    name: str
    rows: int | None = None
    weight: float | None = None


@dataclass(frozen=True)
class Drawn:
    """What one source gave to the mixture: `rows` of the `available` ones, repetitions counted."""

    name: str
    available: int
    rows: int

    @property
    def passes(self) -> float:
        """How often one epoch of the mixture sees a row of this source, on average."""
        return self.rows / self.available


def quotas(shares: Sequence[Share], available: Sequence[int], total: int | None) -> list[int]:
    """Return how many rows each source gives to one epoch of the mixture.

    Counts are taken as they are. Weights divide `total` rows by largest remainders; without `total` the mixture is as
    long as it can be without repeating any row. UserError where a source has no rows, or too few for its weight.
    """
    for share, rows in zip(shares, available, strict=True):
        if rows == 0:
            raise UserError(f"mix: {share.name} has no row left; give it rows or take it out of the mixture")
    if shares[0].weight is None:
        return [rows if share.rows is None else share.rows for share, rows in zip(shares, available, strict=True)]
    # Decimal notation is what the user wrote: a weight of 0.1 is one tenth exactly.
    weights = [Fraction(str(share.weight)) for share in shares]
    whole = sum(weights)
    if total is None:
        total = min(int(rows * whole / weight) for rows, weight in zip(available, weights, strict=True))
    exact = [total * weight / whole for weight in weights]
    counts = [int(count) for count in exact]
    by_remainder = sorted(range(len(exact)), key=lambda place: (counts[place] - exact[place], place))
    for place in by_remainder[: total - sum(counts)]:
        counts[place] += 1
    for share, count in zip(shares, counts, strict=True):
        if count == 0:
            raise UserError(f"mix: the weight of {share.name} gives it no row of {total}; raise it or mix more rows")
    return counts


def mixed_order(available: Sequence[int], counts: Sequence[int], seed: int) -> list[tuple[int, int]]:
    """Return the mixture as (source, position in the source), `counts[i]` of source i.

    Row j of n in a source stands near the share (j + u) / n of the whole, with one random u in [0, 1) a source.
    """
    places: list[tuple[float, int, int]] = []
    for source, (rows, count) in enumerate(zip(available, counts, strict=True)):
        rng = random.Random(f"{seed}:{source}")
        drawn: list[int] = []
        while len(drawn) < count:
            drawn += rng.sample(range(rows), rows)
        offset = rng.random()
        places += [((turn + offset) / count, source, row) for turn, row in enumerate(drawn[:count])]
    return [(source, row) for _, source, row in sorted(places, key=lambda place: place[:2])]


def same_columns(parts: Sequence[Sequence[Row]], names: Sequence[str]) -> list[list[Row]]:
    """Return the rows of each source with the columns of all, None where a source lacks one.

    UserError where a column is text in one source and something else in another: a data set has one type a column.
    """
    kinds: dict[str, dict[str, str]] = {}
    for name, rows in zip(names, parts, strict=True):
        for row in rows:
            for column, value in row.items():
                if value is not None:
                    kinds.setdefault(column, {}).setdefault(_kind(value), name)
    for column, found in kinds.items():
        if len(found) > 1:
            seen = " and ".join(f"{kind} in {name}" for kind, name in found.items())
            raise UserError(f"mix: the column {column} is {seen}; give it one type in the data, or drop it there")
    return [[{column: row.get(column) for column in kinds} for row in rows] for rows in parts]


def _kind(value: Any) -> str:
    return "a number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def epoch_lines(drawn: Sequence[Drawn], rows: int, epochs: float) -> list[str]:
    """Return one sentence a source: its share of the mixture's `rows`, and how often `epochs` of it see each row."""
    return [
        f"source {part.name}: {part.rows:,} of {rows:,} rows ({part.rows / rows:.0%}), "
        f"{part.available:,} available; seen {part.passes * epochs:.1f} times in {epochs:.2g} "
        f"{'epoch' if epochs == 1 else 'epochs'}"
        for part in drawn
    ]


def counted(names: Sequence[str], order: Sequence[tuple[int, int]], available: Sequence[int]) -> list[Drawn]:
    """Return what each source gave to a mixture, or to a first part of one."""
    taken = Counter(source for source, _ in order)
    return [Drawn(name, rows, taken[place]) for place, (name, rows) in enumerate(zip(names, available, strict=True))]
