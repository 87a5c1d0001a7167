"""Intervals and estimators against values derived by hand, and coverage by seeded simulation."""

import math
import random

import pytest

from training.estimates import maj_at_k, paired_difference, pass_at_k, wilson_interval

Z = 1.959963984540054
"""The 97.5 % point of the normal distribution."""


def test_wilson_interval_at_the_ends_is_closed_form() -> None:
    """With 0 of n the bounds are 0 and z2/(n + z2); with n of n they are n/(n + z2) and 1."""
    for n in (1, 10, 128):
        assert wilson_interval(0, n) == (0.0, pytest.approx(Z**2 / (n + Z**2)))
        assert wilson_interval(n, n) == (pytest.approx(n / (n + Z**2)), 1.0)


def test_wilson_interval_of_a_half_is_closed_form() -> None:
    """At p = 1/2 the centre is 1/2 and the half width z sqrt(n + z2) / (2 (n + z2)) = z / (2 sqrt(n + z2))."""
    low, high = wilson_interval(64, 128)
    half = Z / (2 * math.sqrt(128 + Z**2))
    assert (low, high) == (pytest.approx(0.5 - half), pytest.approx(0.5 + half))


def test_wilson_interval_solves_the_score_equation() -> None:
    """Both bounds p satisfy |x/n - p| = z sqrt(p (1 - p) / n), which defines the interval."""
    for successes, n in ((3, 17), (40, 128), (127, 128)):
        for bound in wilson_interval(successes, n):
            assert abs(successes / n - bound) == pytest.approx(Z * math.sqrt(bound * (1 - bound) / n))


@pytest.mark.parametrize(("successes", "n"), [(1, 0), (-1, 5), (6, 5)])
def test_wilson_interval_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="wilson_interval"):
        wilson_interval(successes, n)


def test_pass_at_k_by_hand() -> None:
    """4 draws, 1 right, k = 2: of 6 pairs 3 hold the right one. k = n: 1 if any is right. k = 1: the rate."""
    assert pass_at_k(4, 1, 2) == pytest.approx(0.5)
    assert pass_at_k(8, 1, 8) == 1.0
    assert pass_at_k(8, 0, 8) == 0.0
    assert pass_at_k(8, 3, 1) == pytest.approx(3 / 8)
    assert pass_at_k(10, 3, 4) == pytest.approx(1 - (7 * 6 * 5 * 4) / (10 * 9 * 8 * 7))


def test_pass_at_k_is_unbiased() -> None:
    """With rate p a draw each, the mean over many items is 1 - (1 - p)^k."""
    rng = random.Random(4)
    found = [pass_at_k(8, sum(rng.random() < 0.3 for _ in range(8)), 4) for _ in range(20_000)]
    assert sum(found) / len(found) == pytest.approx(1 - 0.7**4, abs=0.01)


def test_maj_at_k_by_hand() -> None:
    right, wrong, none = ("7", 1), ("8", 0), (None, 0)
    assert maj_at_k([right, right, wrong], 3) == 1.0
    assert maj_at_k([right, wrong, wrong], 3) == 0.0
    assert maj_at_k([right, wrong], 2) == 0.5, "a tie counts as the mean of those that tie"
    assert maj_at_k([right, none, none], 3) == 1.0, "no answer is no vote"
    assert maj_at_k([none, none], 2) == 0.0
    assert maj_at_k([right, right, wrong, wrong], 2) == 0.5, "two groups of two, one right"
    assert maj_at_k([right, right, wrong], 2) == 1.0, "what is left over is not used"
    assert maj_at_k([right, wrong, ("9", 0)], 3) == pytest.approx(1 / 3)


def outcomes(both: int, after_only: int, before_only: int, neither: int) -> tuple[list[int], list[int]]:
    before = [1] * both + [0] * after_only + [1] * before_only + [0] * neither
    after = [1] * both + [1] * after_only + [0] * before_only + [0] * neither
    return before, after


def test_paired_difference_equal_and_perfect_is_closed_form() -> None:
    """All right on both sides: phi = 0, one Wilson side is 0 and the other z2/(n + z2), so the interval is +- that."""
    gain, low, high = paired_difference([1] * 128, [1] * 128)
    assert (gain, low, high) == (0.0, pytest.approx(-(Z**2) / (128 + Z**2)), pytest.approx(Z**2 / (128 + Z**2)))


def test_paired_difference_uncorrelated_adds_squares() -> None:
    """With cells 25 each phi is 0; both rates are 1/2 with Wilson half width w, so the interval is 0 +- w sqrt(2)."""
    gain, low, high = paired_difference(*outcomes(25, 25, 25, 25))
    width = Z / (2 * math.sqrt(100 + Z**2)) * math.sqrt(2)
    assert (gain, low, high) == (0.0, pytest.approx(-width), pytest.approx(width))


def test_paired_difference_corrected_phi_by_hand() -> None:
    """Cells 45, 5, 5, 45: both rates 1/2; ad - bc = 2000, less n/2 = 50 gives phi = 1950 / 2500 = 0.78.

    Both deviations are the Wilson half width w, so the half width is w sqrt(2 - 2 * 0.78).
    """
    gain, low, high = paired_difference(*outcomes(45, 5, 5, 45))
    width = Z / (2 * math.sqrt(100 + Z**2)) * math.sqrt(2 - 2 * 0.78)
    assert (gain, low, high) == (0.0, pytest.approx(-width), pytest.approx(width))


def test_paired_difference_sides_swapped_is_mirrored() -> None:
    before, after = outcomes(20, 12, 2, 16)
    gain, low, high = paired_difference(before, after)
    assert gain == pytest.approx(0.2)
    assert paired_difference(after, before) == pytest.approx((-gain, -high, -low))


def test_paired_difference_covers_the_true_gain() -> None:
    """40 items, rates 0.5 and 0.65, correlated by a shared difficulty: the 95 % interval holds the gain 92 to 98
    times in 100.
    """
    rng = random.Random(5)
    covered, rounds = 0, 3000
    for _ in range(rounds):
        before, after = [], []
        for _ in range(40):
            shared = rng.random() < 0.5
            difficulty = rng.random()
            before.append(int(difficulty < 0.5))
            after.append(int((difficulty if shared else rng.random()) < 0.65))
        _, low, high = paired_difference(before, after)
        covered += low <= 0.15 <= high
    assert 0.92 <= covered / rounds <= 0.98


def test_paired_difference_of_rewards_is_the_normal_interval() -> None:
    """Differences 1, 2, 3: mean 2, standard deviation 1, half width z / sqrt(3)."""
    gain, low, high = paired_difference([0.5, 0.5, 0.5], [1.5, 2.5, 3.5])
    assert (gain, low, high) == pytest.approx((2.0, 2 - Z / math.sqrt(3), 2 + Z / math.sqrt(3)))


def test_paired_difference_unpaired_input_is_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        paired_difference([1, 0], [1])
    with pytest.raises(ValueError, match="as many"):
        paired_difference([], [])
