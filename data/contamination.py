"""Rows that hold what a model will be measured on: n-gram overlap of training rows with the items of suites.

The rule is GPT-3's (Brown et al. 2020, arXiv 2005.14165, appendix C): a row that shares 13 consecutive words with an
item is contaminated, letter case and punctuation aside; shorter items are compared by 8 words, and items of fewer than
8 words only as a whole. With `overlap` it is that of Tulu 3 (Lambert et al. 2024, arXiv 2411.15124: 8-grams, over half
of an item's tokens): the n-grams shared must cover so much of the item. Deliberate differences:

1. The training row is dropped, not cut around the n-gram: half a conversation teaches nothing.
2. A token is a character in scripts that put no spaces between words, and an operator counts (`data.normalise.tokens`).
3. An n-gram that stands in more than 10 items of a source, or in over a tenth of a smaller one, is boilerplate
   ("Choose the right answer: ...") and proves nothing. GPT-3 left out those of more than 10 training documents.
4. Generated items share a template with every generated row, so that n-grams would condemn all rows; GPT-3 set its
   lower bound of 8 for non-synthetic tasks only. They are compared as whole questions.

An item of under 8 tokens is found only where a whole message equals it, a longer whole item anywhere in a message.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from data.ngrams import Numbers, TokenRuns
from data.normalise import tokens

BOILERPLATE_ITEMS = 10
BOILERPLATE_SHARE = 0.1
_CHUNK = 2000


@dataclass(frozen=True)
class Reference:
    """An item that must not be trained on. `source` names the suite or file; `whole` admits no part of it as proof."""

    source: str
    item: str
    text: str
    whole: bool = False


@dataclass(frozen=True)
class Rule:
    """How many tokens must agree, for items of at least `ngram` tokens and for shorter ones; and which share of the
    item's tokens (0 to 1) the n-grams it shares with a row must cover, 0 for one n-gram.
    """

    ngram: int = 13
    short_ngram: int = 8
    overlap: float = 0.0


@dataclass(frozen=True)
class Match:
    """Row `row` shares `ngram` (tokens, joined by spaces), among others, with an item; `overlap` is the share of the
    item's tokens in the shared n-grams.
    """

    row: int
    source: str
    item: str
    ngram: str
    overlap: float


def contaminated(rows: Iterable[Sequence[str]], references: Sequence[Reference], rule: Rule) -> list[Match]:
    """Return a match for each row (a list of segments) and item that overlap, in the order of rows and references.

    Windows are compared by 64-bit numbers; n-grams never span two segments. Memory: about 200 bytes a reference token.
    """
    index = _Index(references, rule)
    matches: list[Match] = []
    source, first = iter(rows), 0
    while chunk := list(islice(source, _CHUNK)):
        matches += index.matches(chunk, first)
        first += len(chunk)
    return matches


class _Index:
    """The windows of all references: for each width, the places (item, position) of each window's number."""

    def __init__(self, references: Sequence[Reference], rule: Rule) -> None:
        self.references, self.rule = references, rule
        self.runs = TokenRuns(reference.text for reference in references)
        self.lengths: list[int] = self.runs.lengths_S.tolist()
        self.limits = {
            source: max(1, min(BOILERPLATE_ITEMS, BOILERPLATE_SHARE * size))
            for source, size in Counter(reference.source for reference in references).items()
        }
        self.places: dict[int, dict[int, list[tuple[int, int]]]] = defaultdict(dict)
        self._add({place: self._width(place) for place, length in enumerate(self.lengths) if length})
        proved = {place for found in self.places.values() for where in found.values() for place, _ in where}
        self._add({place: length for place, length in enumerate(self.lengths) if length and place not in proved})
        self.numbers = {width: np.array(sorted(found), np.uint64) for width, found in self.places.items()}

    def _width(self, place: int) -> int:
        length = self.lengths[place]
        if self.references[place].whole or length < self.rule.short_ngram:
            return length
        return self.rule.ngram if length >= self.rule.ngram else self.rule.short_ngram

    def _add(self, width_of: dict[int, int]) -> None:
        """Enter the windows that prove something, of the given width for each item; first the n-grams of all items,
        then, whole, the items that have none but boilerplate.
        """
        for width in sorted(set(width_of.values())):
            values, counts = self.runs.windows(width)
            owners = np.repeat(np.arange(len(counts)), counts)
            positions = np.arange(len(values)) - np.repeat(np.cumsum(counts) - counts, counts)
            found: dict[int, list[tuple[int, int]]] = defaultdict(list)
            for value, place, at in zip(values.tolist(), owners.tolist(), positions.tolist(), strict=True):
                if width_of.get(place) == width:
                    found[value].append((place, at))
            for value, where in found.items():
                if proof := self._proof(width, where):
                    self.places[width].setdefault(value, []).extend(proof)

    def _proof(self, width: int, where: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the places of a window without those in a source that uses it as boilerplate; a whole item is none."""
        parts = {place for place, _ in where if width < self.lengths[place]}
        spread = Counter(self.references[place].source for place in parts)
        return [
            (place, at)
            for place, at in where
            if place not in parts or spread[source := self.references[place].source] <= self.limits[source]
        ]

    def matches(self, rows: list[Sequence[str]], first: int) -> Iterator[Match]:
        """Yield the matches of some rows, the first of which has the number `first`."""
        owners = [number for number, segments in enumerate(rows, start=first) for _ in segments]
        runs = TokenRuns(segment for segments in rows for segment in segments)
        found: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
        for width, numbers in self.numbers.items():
            values, counts = runs.windows(width)
            hits = np.flatnonzero(_members(values, numbers))
            segments = np.searchsorted(np.cumsum(counts), hits, side="right")
            for value, segment in zip(values[hits].tolist(), segments.tolist(), strict=True):
                if width < self.rule.short_ngram and runs.lengths_S[segment] != width:
                    continue
                for place, at in self.places[width][value]:
                    found[owners[segment], place][at] = width
        for (row, place), windows in sorted(found.items()):
            yield from self._match(row, place, windows)

    def _match(self, row: int, place: int, windows: dict[int, int]) -> Iterator[Match]:
        reference = self.references[place]
        covered = {at + offset for at, width in windows.items() for offset in range(width)}
        overlap = len(covered) / self.lengths[place]
        if overlap >= self.rule.overlap:
            at = min(windows)
            shared = " ".join(tokens(reference.text)[at : at + windows[at]])
            yield Match(row, reference.source, reference.item, shared, overlap)


def _members(values: Numbers, numbers: Numbers) -> NDArray[np.bool_]:
    """Return which values are among the sorted `numbers`, which are at least one."""
    return numbers[np.minimum(np.searchsorted(numbers, values), len(numbers) - 1)] == values
