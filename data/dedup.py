"""Exact duplicates: rows whose normalised text is equal. The first of equal rows stays."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from data.normalise import joined


@dataclass(frozen=True)
class Duplicate:
    """Row `row` says the same as the earlier row `of`; both are positions in what was compared."""

    row: int
    of: int


def exact_duplicates(rows: Iterable[Sequence[str]]) -> list[Duplicate]:
    """Return the rows (each a list of segments, see `data.normalise.row_segments`) that repeat an earlier one.

    Two rows are equal when their segments are, one by one, after `data.normalise.normalised`; the 128-bit digests that
    are compared collide with probability below 1e-26 among a million rows. Memory: about 120 bytes a row.
    """
    first: dict[bytes, int] = {}
    found = []
    for number, segments in enumerate(rows):
        text = joined(segments).encode("utf-8", "surrogatepass")
        earlier = first.setdefault(hashlib.blake2b(text, digest_size=16).digest(), number)
        if earlier != number:
            found.append(Duplicate(number, earlier))
    return found
