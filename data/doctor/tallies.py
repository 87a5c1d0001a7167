"""The doctor's figures: length histograms in bins people read, a mean with its interval, a share with its interval."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

Z95 = 1.959964  # two-sided 95 % of the normal distribution
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
MAX_BINS = 16


@dataclass(frozen=True)
class Histogram:
    """Counts of whole numbers: bin `i` holds `first + i * width` up to, not including, the next bin's start."""

    first: int
    width: int
    counts: list[int]

    def bounds(self, place: int) -> tuple[int, int]:
        """First and last value of a bin."""
        start = self.first + place * self.width
        return start, start + self.width - 1


def histogram(values: Iterable[int], max_bins: int = MAX_BINS) -> Histogram:
    """Return at most `max_bins` bins whose width is a power of two, so that limits such as 1024 fall on an edge."""
    counted = Counter(values)
    if not counted:
        return Histogram(0, 1, [])
    low, high = min(counted), max(counted)
    width = next((width for width in WIDTHS if high // width - low // width < max_bins), WIDTHS[-1])
    first = low // width * width
    counts = [0] * ((high - first) // width + 1)
    for value, count in counted.items():
        counts[(value - first) // width] += count
    return Histogram(first, width, counts)


def quantile(ordered: Sequence[int], share: float) -> int:
    """Return the value that `share` of an ascending, non-empty sequence does not exceed (nearest rank)."""
    return ordered[max(math.ceil(share * len(ordered)), 1) - 1]


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % interval from the normal approximation; one value has no width."""
    mean = math.fsum(values) / len(values)
    if len(values) == 1:
        return mean, mean, mean
    variance = math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
    half = Z95 * math.sqrt(variance / len(values))
    return mean, mean - half, mean + half


def share_interval(hits: int, total: int) -> tuple[float, float, float]:
    """Return a share and its 95 % Wilson score interval (Wilson 1927), which holds near 0 and 1 as well."""
    share, square = hits / total, Z95**2
    centre = (share + square / (2 * total)) / (1 + square / total)
    half = Z95 / (1 + square / total) * math.sqrt(share * (1 - share) / total + square / (4 * total**2))
    return share, max(centre - half, 0.0), min(centre + half, 1.0)
