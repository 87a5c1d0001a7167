"""The account of a source: every row it gave is kept or dropped for a stated reason, by its number.

Rows are numbered from 0 in the order their source gives them, bad ones included, so a number means the same row at
every step from reading to packing. Owns the policy on bad rows (`max_bad_rows`). Does not decide which row is bad or
surplus: readers, formats, deduplication and limits do, and say so here.
"""

import json
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from data.errors import UserError


@dataclass(frozen=True)
class Dropped:
    """One row that is not used: its number in the source, a reason in snake_case (one of few, they are counted), and
    what exactly was found.
    """

    number: int
    reason: str
    detail: str = ""


class Origin:
    """Where each row of a source stands: file and line, or its number where there are no lines."""

    def __init__(self) -> None:
        self._labels: list[str] = []
        self._first: list[int] = []
        self._lines = array("q")

    def begin(self, label: str) -> None:
        """From here on rows come from `label`, a file or a data set."""
        self._labels.append(label)
        self._first.append(len(self._lines))

    def add(self, line: int | None = None) -> int:
        """Count one row, with its line (from 1) where it has one; returns its number (from 0)."""
        self._lines.append(0 if line is None else line)
        return len(self._lines) - 1

    def extend(self, other: "Origin") -> None:
        """Take over the rows of another source; theirs are numbered from here on."""
        self._labels += other._labels
        self._first += [len(self) + first for first in other._first]
        self._lines.extend(other._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def where(self, number: int) -> str:
        """Return "rows.jsonl:17", or "rows.parquet row 16" (from 0 within its file) where rows have no lines."""
        part = bisect_right(self._first, number) - 1
        if part < 0:
            return f"row {number}"
        line = self._lines[number]
        return f"{self._labels[part]}:{line}" if line else f"{self._labels[part]} row {number - self._first[part]}"


@dataclass
class Account:
    """What became of each row of one source: rows_in = kept + dropped, always.

    `bad` notes a row that cannot be used and stops at the first unless `max_bad_rows` (a share, 0 to 1) admits some;
    `drop` notes a row left out on purpose (duplicate, limit, too long), which no threshold counts.
    """

    source: str
    max_bad_rows: float = 0.0
    origin: Origin = field(default_factory=Origin)
    dropped: list[Dropped] = field(default_factory=list)
    num_bad: int = 0

    @property
    def rows_in(self) -> int:
        """How many rows the source gave, bad ones included."""
        return len(self.origin)

    @property
    def rows_kept(self) -> int:
        """How many of them are still in use."""
        return self.rows_in - len(self.dropped)

    def bad(self, number: int, reason: str, detail: str) -> None:
        """Note a row that cannot be used; UserError with its place if the policy is to stop at the first."""
        if self.max_bad_rows == 0:
            raise UserError(f"{self.origin.where(number)}: {detail}")
        self.num_bad += 1
        self.drop(number, reason, detail)

    def drop(self, number: int, reason: str, detail: str = "") -> None:
        """Note a row that is left out on purpose."""
        self.dropped.append(Dropped(number, reason, detail))

    def check_share(self) -> None:
        """Raise UserError if more than `max_bad_rows` of the rows are bad; call it when a source has been read."""
        if self.num_bad > self.max_bad_rows * self.rows_in:
            reasons = ", ".join(f"{count} {reason}" for reason, count in self.counts().items())
            first = self.dropped[0]
            raise UserError(
                f"{self.source}: {self.num_bad} of {self.rows_in} rows are bad, more than the share "
                f"max_bad_rows={self.max_bad_rows:g} admits (dropped: {reasons}); the first is "
                f"{self.origin.where(first.number)}: {first.detail}"
            )

    def check_kept(self, kept: int) -> None:
        """Assert that `kept` rows and those dropped are all the rows there were, each dropped once."""
        numbers = {row.number for row in self.dropped}
        assert len(numbers) == len(self.dropped), f"{self.source}: a row was dropped twice"
        assert kept == self.rows_kept, f"{self.source}: {self.rows_in} rows in, {kept} kept, {len(numbers)} dropped"

    def counts(self) -> dict[str, int]:
        """Return how many rows each reason took, reasons in order of appearance."""
        return dict(Counter(row.reason for row in self.dropped))

    def lines(self) -> Iterator[dict[str, Any]]:
        """Yield one JSON object per dropped row: source, row (its number), where, reason, detail."""
        for row in self.dropped:
            yield {
                "source": self.source,
                "row": row.number,
                "where": self.origin.where(row.number),
                "reason": row.reason,
                "detail": row.detail,
            }


@dataclass(frozen=True)
class Rows:
    """Rows as their source has them (our column names), the source's description for the record, how many there were,
    and the account: `numbers[i]` is the number of `rows[i]` in the source, which `account` names rows by.
    """

    rows: list[dict[str, Any]]
    source: dict[str, Any]
    rows_in: int
    account: Account
    numbers: list[int]
    held_out: list[dict[str, Any]] = field(default_factory=list)
    """Rows set aside for validation; the account has them as dropped."""

    def without(self, places: Mapping[int, str], reason: str) -> "Rows":
        """Return the rows but those at `places` (index into `rows` -> detail), which the account notes as dropped."""
        for place, detail in places.items():
            self.account.drop(self.numbers[place], reason, detail)
        kept = [place for place in range(len(self.rows)) if place not in places]
        return replace(self, rows=[self.rows[place] for place in kept], numbers=[self.numbers[place] for place in kept])


DROPPED_ROWS = "dropped_rows.jsonl"
"""The file beside a record that lists every dropped row of every source."""


def write_dropped(path: Path, accounts: list[Account]) -> int:
    """Write every dropped row of the accounts as JSON lines; returns how many. No file is made where there are none."""
    lines = [json.dumps(line, ensure_ascii=False) for account in accounts for line in account.lines()]
    if lines:
        # A detail may quote the broken text itself; what UTF-8 cannot hold is written as an escape.
        path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="backslashreplace")
    return len(lines)
