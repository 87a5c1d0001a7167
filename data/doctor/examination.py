"""One pass over a source's token rows: every row kept, flagged or noted by its number, and the figures of the whole.

Rows stream through; what is kept of a row is its lengths, a 16-byte digest and, for a few, the tokens for the preview.
"""

import hashlib
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from data.doctor.flags import flags, is_cut
from data.doctor.sequences import TokenFacts, TokenRow
from data.doctor.tallies import Histogram, histogram, mean_interval, quantile, share_interval


@dataclass
class Examination:
    """What was found in the rows of one source; numbers are those of the source."""

    limit: int | None
    rows: int = 0
    lengths: dict[str, array] = field(default_factory=dict)
    trained: dict[str, array] = field(default_factory=dict)
    flagged: dict[str, list[int]] = field(default_factory=dict)
    noted: dict[str, list[int]] = field(default_factory=dict)
    previews: list[TokenRow] = field(default_factory=list)
    num_flagged_rows: int = 0

    @property
    def flagged_share(self) -> float:
        """Share of the rows with at least one flag."""
        return self.num_flagged_rows / self.rows if self.rows else 0.0

    @property
    def over_limit(self) -> int:
        """Sequences that are longer than the limit."""
        if self.limit is None:
            return 0
        return sum(length > self.limit for lengths in self.lengths.values() for length in lengths)

    def histogram(self) -> Histogram:
        """Lengths of all sequences, before the limit."""
        return histogram(length for lengths in self.lengths.values() for length in lengths)

    def findings(self) -> Iterator[dict[str, Any]]:
        """Yield one JSON object per row and finding: row (its number in the source), finding, error."""
        for error, found in ((True, self.flagged), (False, self.noted)):
            for name, numbers in found.items():
                yield from ({"row": number, "finding": name, "error": error} for number in numbers)

    def summary(self) -> dict[str, Any]:
        """Return the figures as plain JSON, for a record."""
        return {
            "rows": self.rows,
            "flagged_rows": self.num_flagged_rows,
            "flagged": {name: len(numbers) for name, numbers in self.flagged.items()},
            "noted": {name: len(numbers) for name, numbers in self.noted.items()},
            "limit": self.limit,
            "over_limit": self.over_limit,
            "tokens": {name: spread(values) for name, values in self.lengths.items()},
            "trained_tokens": {name: spread(values) for name, values in self.trained.items()},
            "length_bias": length_bias(self),
        }


def examine(rows: Iterable[TokenRow], facts: TokenFacts, previews: int = 0) -> Examination:
    """Go through the rows once. Previews are flagged rows first, at most half of them of any one kind of trouble."""
    found = Examination(facts.limit)
    seen: set[bytes] = set()
    plain: list[TokenRow] = []
    for row in rows:
        found.rows += 1
        wrong = flags(row, facts)
        for name in wrong:
            found.flagged.setdefault(name, []).append(row.number)
        found.num_flagged_rows += bool(wrong)
        if is_cut(row):
            found.noted.setdefault("cut_by_limit", []).append(row.number)
        digest = _digest(row)
        if digest in seen:
            found.noted.setdefault("duplicate", []).append(row.number)
        seen.add(digest)
        for name, sequence in row.sequences.items():
            found.lengths.setdefault(name, array("l")).append(len(sequence))
            if name != "prompt":
                found.trained.setdefault(name, array("l")).append(sequence.num_trained_kept)
        if wrong and len(found.previews) < previews:
            if all(len(found.flagged[name]) <= max(previews // 2, 1) for name in wrong):
                found.previews.append(row)
        elif not wrong and len(plain) < previews:
            plain.append(row)
    found.previews += plain[: previews - len(found.previews)]
    return found


def spread(values: array) -> dict[str, int]:
    """Return least, median, 95th percentile, greatest and sum."""
    ordered = sorted(values)
    return {
        "min": ordered[0],
        "median": quantile(ordered, 0.5),
        "p95": quantile(ordered, 0.95),
        "max": ordered[-1],
        "sum": sum(ordered),
    }


def length_bias(found: Examination) -> dict[str, Any] | None:
    """Trained tokens of chosen less those of rejected: mean, 95 % interval, share of longer chosen; None without pairs.

    A preference that length alone predicts teaches length: DPO and its kin follow it (arXiv 2403.19159).
    """
    if "chosen" not in found.trained:
        return None
    differences = [
        chosen - rejected for chosen, rejected in zip(found.trained["chosen"], found.trained["rejected"], strict=True)
    ]
    mean, low, high = mean_interval(differences)
    unequal = [difference for difference in differences if difference]
    bias = {"mean": round(mean, 2), "ci95": [round(low, 2), round(high, 2)], "pairs": len(differences)}
    if unequal:
        share, least, most = share_interval(sum(difference > 0 for difference in unequal), len(unequal))
        bias |= {"chosen_longer": round(share, 4), "chosen_longer_ci95": [round(least, 4), round(most, 4)]}
    return bias


def _digest(row: TokenRow) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for name, sequence in row.sequences.items():
        digest.update(name.encode() + b"\0" + array("q", sequence.ids).tobytes())
    return digest.digest()
