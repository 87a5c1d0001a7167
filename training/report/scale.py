"""Scales and numbers of charts: round tick values, positions, and figures as people write them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


@dataclass(frozen=True)
class Scale:
    """Maps values `low`..`high` to positions `start`..`end` (either direction)."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The position of a value; values beyond the ends are held at them."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)


def nice_ticks(low: float, high: float, about: int = 4) -> list[float]:
    """Round values that cover `low`..`high`, spaced 1, 2 or 5 times a power of ten, first <= low and last >= high."""
    if not high > low:
        reach = abs(low) * 0.1 or 1.0
        low, high = low - reach, high + reach
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    spacing = next(factor * power for factor in (1, 2, 5, 10) if rough <= factor * power * 1.0001)
    first, last = math.floor(low / spacing + 1e-9), math.ceil(high / spacing - 1e-9)
    return [round(index * spacing, 12) for index in range(first, last + 1)]


def figure(value: float) -> str:
    """A number for an axis or a tooltip: at most four digits that matter, thousands apart, tiny ones as powers."""
    if not math.isfinite(value):
        return "not a number"
    size = abs(value)
    if size and size <= 0.001:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if size >= 1_000_000:
        return f"{value / 1_000_000:.3g} M"
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"


def axis_labels(ticks: Sequence[float]) -> list[str]:
    """The ticks of one axis written alike, with as many decimals as tell neighbours apart; tiny axes as powers."""
    largest, spacing = max(abs(tick) for tick in ticks), abs(ticks[1] - ticks[0])
    if largest >= 1_000_000 or largest <= 0.001:
        return [figure(tick) if tick else "0" for tick in ticks]
    decimals = max(0, -math.floor(math.log10(spacing) + 1e-9))
    return [f"{tick:,.{decimals}f}".replace("-", "\u2212") for tick in ticks]


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1 as percent."""
    return f"{100 * share:.{digits}f} %"


def points(change: float, digits: int = 1) -> str:
    """A signed change of a share in percentage points, with a true minus sign."""
    return f"{100 * change:+.{digits}f}".replace("-", "\u2212")


def smoothed(values: Sequence[float]) -> tuple[list[float], int]:
    """(centred moving average, its window in points): about an eighth of the series, less towards the ends."""
    reach = max(2, len(values) // 16)
    averaged = []
    for index in range(len(values)):
        near = min(reach, index, len(values) - 1 - index)
        window = values[index - near : index + near + 1]
        averaged.append(sum(window) / len(window))
    return averaged, 2 * reach + 1


class Span(NamedTuple):
    """What one drawn point stands for: the mean of the steps `first` to `last` at their middle, its lowest, highest."""

    at: float
    mean: float
    low: float
    high: float
    first: float
    last: float


def thinned(points: Sequence[tuple[float, float]], most: int = 300) -> list[Span]:
    """At most `most` spans of neighbouring points, one a point where they are few, so a long run stays a small page."""
    size = max(1, math.ceil(len(points) / most))
    chunks = [points[start : start + size] for start in range(0, len(points), size)]
    return [_span(chunk) for chunk in chunks]


def _span(chunk: Sequence[tuple[float, float]]) -> Span:
    values = [y for _, y in chunk]
    middle = sum(x for x, _ in chunk) / len(chunk)
    return Span(middle, sum(values) / len(values), min(values), max(values), chunk[0][0], chunk[-1][0])
