"""Near duplicates: rows whose sets of shingles overlap, found by MinHash LSH (datasketch) and checked exactly.

A shingle is five consecutive tokens of `data.normalise.tokens` (the 5-grams and the threshold of 0.8 follow Lee et al.
2022, arXiv 2107.06499): words, or characters in scripts without spaces. A row of fewer tokens is one shingle; a row
without any is a duplicate of nothing here. Rows are taken in order: one is dropped if its Jaccard similarity with a row
kept before it reaches the threshold, so chains of small changes do not merge into one.

LSH (Broder 1997; Indyk and Motwani 1998) only proposes pairs; similarity is computed on the shingles themselves. So no
row is dropped by chance, and a pair at the threshold is missed with probability below 1 %, a closer one less.
"""

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from data.ngrams import TokenRuns

SHINGLE = 5
PERMUTATIONS = 128
SEED = 1
RECALL = 0.99
"""Least probability with which a pair exactly at the threshold is proposed."""

_CHUNK = 2000
_WORTH_PROCESSES = 10_000
"""Fewer rows than these are done before a second process has started."""

Segments = Sequence[str]
Words = NDArray[np.uint32]


@dataclass(frozen=True)
class NearDuplicate:
    """Row `row` has the Jaccard similarity `similarity` with the earlier row `of`, the closest found; `of` is kept."""

    row: int
    of: int
    similarity: float


def near_duplicates(rows: Sequence[Segments], threshold: float = 0.8, processes: int = 1) -> list[NearDuplicate]:
    """Return the rows that are near duplicates of one kept before them, in order.

    The answer depends on the rows and `threshold` (0.5 to 1.0) alone, not on `processes`. Memory: about 0.6 KB and 8
    bytes a token for each row, and 6 KB for each row kept.
    """
    from datasketch import MinHash, MinHashLSH

    bands, width = banding(threshold)
    index = MinHashLSH(num_perm=PERMUTATIONS, params=(bands, width))
    sketch = MinHash(num_perm=PERMUTATIONS, seed=SEED)
    signatures, shingles = _sketches(rows, processes)
    near_enough = threshold - 4 * (threshold * (1 - threshold) / PERMUTATIONS) ** 0.5
    found = []
    for number, own in enumerate(shingles):
        if len(own) == 0:
            continue
        sketch.hashvalues = signatures[number]
        candidates = np.array(sorted(index.query(sketch)), dtype=np.int64)
        alike = (signatures[candidates] == signatures[number]).mean(axis=1)
        checked = [(jaccard(own, shingles[other]), -other) for other in candidates[alike >= near_enough].tolist()]
        similarity, other = max(checked, default=(0.0, 0))
        if similarity >= threshold:
            found.append(NearDuplicate(number, -other, similarity))
        else:
            index.insert(number, sketch, check_duplication=False)
    return found


def jaccard(first: Words, second: Words) -> float:
    """Return the Jaccard similarity of two sets, given as sorted arrays without repetition."""
    shared = len(np.intersect1d(first, second, assume_unique=True))
    return shared / (len(first) + len(second) - shared)


def banding(threshold: float) -> tuple[int, int]:
    """Return (bands, rows a band) of the LSH: the widest bands that propose a pair at `threshold` often enough.

    A pair of similarity s is proposed with probability 1 - (1 - s**width)**bands (Leskovec et al., Mining of Massive
    Datasets, section 3.4.2).
    """
    widths = range(1, PERMUTATIONS // 2 + 1)
    width = max(w for w in widths if 1 - (1 - threshold**w) ** (PERMUTATIONS // w) >= RECALL)
    return PERMUTATIONS // width, width


def _sketches(rows: Sequence[Segments], processes: int) -> tuple[Words, list[Words]]:
    """Return the signatures (rows x permutations) and each row's shingles, sorted and without repetition."""
    if processes > 1 and len(rows) >= _WORTH_PROCESSES:
        # spawn: a fork would copy the locks of torch's threads in whatever state they are.
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            parts = list(pool.map(_sketch_chunk, _chunks(rows)))
    else:
        parts = [_sketch_chunk(chunk) for chunk in _chunks(rows)]
    signatures = np.concatenate([part[0] for part in parts]) if parts else np.empty((0, PERMUTATIONS), np.uint32)
    return signatures, [row for part in parts for row in np.split(part[1], part[2])]


def _chunks(rows: Sequence[Segments]) -> Iterator[list[Segments]]:
    source = iter(rows)
    while chunk := list(islice(source, _CHUNK)):
        yield chunk


def _sketch_chunk(rows: list[Segments]) -> tuple[Words, Words, NDArray[np.int64]]:
    """Return signatures, the shingles of all rows one after another, and where each row but the first begins."""
    from datasketch import MinHash

    shingles = _shingles(rows)
    empty = MinHash(num_perm=PERMUTATIONS, seed=SEED, hashfunc=int)
    signatures = np.empty((len(rows), PERMUTATIONS), dtype=np.uint32)
    for number, own in enumerate(shingles):
        sketch = empty.copy()
        sketch.update_batch(own.tolist())
        signatures[number] = sketch.hashvalues
    return signatures, np.concatenate(shingles), np.cumsum([len(own) for own in shingles])[:-1]


def _shingles(rows: list[Segments]) -> list[Words]:
    runs = TokenRuns("\n".join(segments) for segments in rows)
    widths = np.clip(runs.lengths_S, 1, SHINGLE)
    of_width = {}
    for width in set(widths.tolist()):
        values, counts = runs.windows(width)
        of_width[width] = np.split((values >> np.uint64(32)).astype(np.uint32), np.cumsum(counts)[:-1])
    return [np.unique(of_width[width][row]) for row, width in enumerate(widths.tolist())]
