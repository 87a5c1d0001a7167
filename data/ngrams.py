"""Runs of consecutive tokens (n-grams, shingles) as 64-bit numbers, for many texts at once.

A token's number is its blake2b digest, the same in every process and on every machine. A window's number is a
polynomial in those of its tokens (Karp and Rabin 1987) modulo 2**64, from prefix sums: any width costs one pass.
Dimensions: T tokens of all texts one after another, S texts.
"""

import hashlib
from collections.abc import Iterable
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from data.normalise import tokens

_BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_BASE, -1, 1 << 64)
_VOCABULARY = 1_000_000

Numbers = NDArray[np.uint64]


class _TokenNumbers(dict[str, int]):
    """The number of every token met so far; emptied when it holds a million."""

    def __missing__(self, token: str) -> int:
        if len(self) >= _VOCABULARY:
            self.clear()
        digest = hashlib.blake2b(token.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        number = self[token] = int.from_bytes(digest, "little")
        return number


_numbers = _TokenNumbers()


class TokenRuns:
    """The tokens of some texts in one row of numbers; windows never reach from one text into the next."""

    def __init__(self, texts: Iterable[str]) -> None:
        flat: list[int] = []
        ends = [0]
        for text in texts:
            flat += map(_numbers.__getitem__, tokens(text))
            ends.append(len(flat))
        self.tokens_T: Numbers = np.array(flat, dtype=np.uint64)
        self.starts_S = np.array(ends[:-1], dtype=np.int64)
        self.lengths_S = np.diff(np.array(ends, dtype=np.int64))

    @cached_property
    def _sums(self) -> tuple[Numbers, Numbers]:
        """Prefix sums of token x base**place, and base**-place."""
        powers, inverses = _powers(_BASE, len(self.tokens_T)), _powers(_INVERSE, len(self.tokens_T))
        sums = np.zeros(len(self.tokens_T) + 1, dtype=np.uint64)
        np.cumsum(self.tokens_T * powers, out=sums[1:])
        return sums, inverses

    def windows(self, width: int) -> tuple[Numbers, NDArray[np.int64]]:
        """Return the number of each window of `width` tokens, texts in order, and how many windows each text has."""
        counts_S = np.maximum(self.lengths_S - width + 1, 0)
        places = np.repeat(self.starts_S - (np.cumsum(counts_S) - counts_S), counts_S) + np.arange(counts_S.sum())
        sums, inverses = self._sums
        return (sums[places + width] - sums[places]) * inverses[places], counts_S


def _powers(base: int, count: int) -> Numbers:
    powers = np.full(count, base, dtype=np.uint64)
    powers[:1] = 1
    return np.cumprod(powers, dtype=np.uint64)
