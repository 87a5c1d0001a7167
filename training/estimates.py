"""Rates, intervals and paired comparisons of evaluations: plain formulas with their sources, no torch and no numpy.

All rates lie in [0, 1]. Intervals are two-sided at `confidence`. `n` is the number of items (questions), never of
draws.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from statistics import NormalDist, fmean, stdev


def wilson_interval(successes: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval of a rate (Wilson 1927, JASA 22:209-212); stays in [0, 1] and works at 0 and n."""
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"wilson_interval needs 0 <= successes <= n and n >= 1, got {successes} of {n}")
    z = _z(confidence)
    rate = successes / n
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    # At the ends the bound is the rate itself; rounding must not put it a hair beside.
    low = 0.0 if successes == 0 else centre - half
    return low, 1.0 if successes == n else centre + half


def pass_at_k(n: int, c: int, k: int) -> float:
    """Return the unbiased estimate of "at least one of k draws is right" from c right of n draws (Chen et al. 2021,
    arXiv 2107.03374, eq. 1): 1 - C(n - c, k) / C(n, k).
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass_at_k needs 0 <= c <= n and 1 <= k <= n, got n={n}, c={c}, k={k}")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def maj_at_k(draws: Sequence[tuple[Hashable | None, float]], k: int) -> float:
    """Return how often the majority of k draws is right, from draws of one item as (answer, 1 if right else 0).

    Averaged over the disjoint groups of k among the draws (each is k independent draws, so the mean is unbiased;
    what is left over is not used). A tie counts as the mean over the answers that tie. A draw without an answer
    (None) does not vote; a group without votes is wrong (Wang et al. 2022, arXiv 2203.11171, self-consistency).
    """
    if not 1 <= k <= len(draws):
        raise ValueError(f"maj_at_k needs 1 <= k <= {len(draws)} draws, got k={k}")
    groups = [draws[start : start + k] for start in range(0, len(draws) - k + 1, k)]
    return fmean(_majority(group) for group in groups)


def paired_difference(
    before: Sequence[float], after: Sequence[float], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (gain, low, high) of mean(after) - mean(before), the two sequences holding the same items in order.

    For 0/1 outcomes: Newcombe's method 10 (Newcombe 1998, Statistics in Medicine 17:2635-2650), square-and-add of two
    Wilson intervals with the correlation of the pairs; it stays in [-1, 1] and is sound for few or no discordant
    pairs. For other values, on a scale of 1 or more: the normal interval of the mean difference with `_error`, which
    wants some 30 items or more.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"paired_difference needs as many values on both sides, got {len(before)} and {len(after)}")
    if set(before) | set(after) <= {0, 1}:
        return _newcombe(before, after, confidence)
    differences = [second - first for first, second in zip(before, after, strict=True)]
    gain, half = fmean(differences), _z(confidence) * _error(differences)
    return gain, gain - half, gain + half


def mean_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float, float]:
    """Return (mean, low, high) of values in [0, 1], one an item: Wilson's interval where all are 0 or 1.

    Else the normal one with `_error`, cut at 0 and 1.
    """
    mean = fmean(values)
    if set(values) <= {0, 1}:
        return mean, *wilson_interval(sum(values), len(values), confidence)
    half = _z(confidence) * _error(values)
    return mean, max(mean - half, 0.0), min(mean + half, 1.0)


def mean_of(estimates: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """Return (mean, low, high) of independent estimates (value, low, high), each counting alike.

    The distances to the bounds add in squares, each side for itself (MOVER: Zou & Donner 2008, Statistics in Medicine
    27:1693-1702), so that the mean's interval is as sound at the ends as its parts' are.
    """
    if len(estimates) == 1:
        return estimates[0]
    mean, count = fmean(value for value, _, _ in estimates), len(estimates)
    below = math.hypot(*(value - low for value, low, _ in estimates)) / count
    above = math.hypot(*(high - value for value, _, high in estimates)) / count
    return mean, mean - below, mean + above


def difference(
    before: float, num_before: int, after: float, num_after: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (gain, low, high) of after / num_after - before / num_before for successes on two sets of items.

    Newcombe's method 10 for independent rates (Newcombe 1998, Statistics in Medicine 17:873-890): square-and-add of
    the two Wilson intervals.
    """
    first, second = after / num_after, before / num_before
    first_low, first_high = wilson_interval(after, num_after, confidence)
    second_low, second_high = wilson_interval(before, num_before, confidence)
    gain = first - second
    below = math.hypot(first - first_low, second_high - second)
    above = math.hypot(first_high - first, second - second_low)
    return gain, gain - below, gain + above


def _z(confidence: float) -> float:
    if not 0 <= confidence < 1:
        raise ValueError(f"confidence={confidence} is not in [0, 1)")
    return NormalDist().inv_cdf((1 + confidence) / 2)


def _error(values: Sequence[float]) -> float:
    """The standard error of a mean: sample deviation over the root of n, and at least 1/n.

    The floor is what one item of n brings that differs by a whole point: n items that agree do not prove that the
    next one does.
    """
    n = len(values)
    return max(stdev(values) / math.sqrt(n) if n > 1 else 0.0, 1 / n)


def _majority(group: Sequence[tuple[Hashable | None, float]]) -> float:
    votes: dict[Hashable, list[float]] = defaultdict(list)
    for value, correct in group:
        if value is not None:
            votes[value].append(correct)
    if not votes:
        return 0.0
    most = max(len(found) for found in votes.values())
    return fmean(fmean(found) for found in votes.values() if len(found) == most)


def _newcombe(before: Sequence[float], after: Sequence[float], confidence: float) -> tuple[float, float, float]:
    """Method 10 with p1 = after, p2 = before; a, b, c, d are the counts of (after, before) = 11, 10, 01, 00."""
    n = len(before)
    pairs = list(zip(after, before, strict=True))
    a, b, c, d = (pairs.count(cell) for cell in ((1, 1), (1, 0), (0, 1), (0, 0)))
    first, second = (a + b) / n, (a + c) / n
    first_low, first_high = wilson_interval(a + b, n, confidence)
    second_low, second_high = wilson_interval(a + c, n, confidence)
    phi = _corrected_phi(a, b, c, d)
    below = _square_and_add(first - first_low, second_high - second, phi)
    above = _square_and_add(first_high - first, second - second_low, phi)
    gain = (b - c) / n
    return gain, gain - below, gain + above


def _corrected_phi(a: int, b: int, c: int, d: int) -> float:
    """The correlation of the pairs, its numerator moved n/2 towards 0 where it is positive (Newcombe 1998, method
    10).
    """
    margins = (a + b) * (c + d) * (a + c) * (b + d)
    if margins == 0:
        return 0.0
    numerator = float(a * d - b * c)
    if numerator > 0:
        numerator = max(numerator - (a + b + c + d) / 2, 0.0)
    return numerator / math.sqrt(margins)


def _square_and_add(one: float, other: float, phi: float) -> float:
    return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))
