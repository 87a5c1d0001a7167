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
    pairs. For other values: the normal interval of the mean difference, which wants some 30 items or more.
    """
    if len(before) != len(after) or not before:
        raise ValueError(f"paired_difference needs as many values on both sides, got {len(before)} and {len(after)}")
    if set(before) | set(after) <= {0, 1}:
        return _newcombe(before, after, confidence)
    differences = [second - first for first, second in zip(before, after, strict=True)]
    if len(differences) < 2:
        raise ValueError("paired_difference of values other than 0 and 1 needs at least 2 items")
    gain = fmean(differences)
    half = _z(confidence) * stdev(differences) / math.sqrt(len(differences))
    return gain, gain - half, gain + half


def mean_difference(
    tasks: Sequence[tuple[Sequence[float], Sequence[float]]], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return (gain, low, high) of the mean over tasks of mean(after) - mean(before); each task is (before, after),
    paired by item. Normal interval; the tasks' standard errors add in squares.
    """
    if any(len(before) != len(after) or len(before) < 2 for before, after in tasks) or not tasks:
        raise ValueError("mean_difference needs tasks with as many values on both sides, at least 2 each")
    changes = [[b - a for a, b in zip(before, after, strict=True)] for before, after in tasks]
    gain = fmean(fmean(each) for each in changes)
    error = math.sqrt(sum(stdev(each) ** 2 / len(each) for each in changes)) / len(changes)
    half = _z(confidence) * error
    return gain, gain - half, gain + half


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
