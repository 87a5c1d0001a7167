"""Mixtures of sources: quotas, draws, order, and what an epoch sees."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.errors import UserError
from data.mixing import Drawn, Share, counted, epoch_lines, mixed_order, quotas, same_columns


@pytest.mark.parametrize(
    ("shares", "available", "total", "expected"),
    [
        ([Share("a", weight=3), Share("b", weight=1)], [300, 50], None, [150, 50]),  # b's 50 rows are a quarter
        ([Share("a", weight=0.7), Share("b", weight=0.3)], [10, 10], 100, [70, 30]),
        ([Share("a", weight=1), Share("b", weight=1), Share("c", weight=1)], [9, 9, 9], 10, [4, 3, 3]),
        ([Share("a", rows=20), Share("b", rows=5)], [10, 10], None, [20, 5]),
        ([Share("a"), Share("b", rows=5)], [10, 10], None, [10, 5]),
        (
            [Share("a", weight=0.1), Share("b", weight=0.2)],
            [1, 2],
            None,
            [1, 2],
        ),  # 0.1 and 0.2 as written, not as binary
    ],
)
def test_quotas(shares: list[Share], available: list[int], total: int | None, expected: list[int]) -> None:
    assert quotas(shares, available, total) == expected


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 9)), min_size=1, max_size=5), st.integers(60, 500))
def test_weighted_quotas_sum_to_the_total_and_miss_the_share_by_less_than_a_row(
    sources: list[tuple[int, int]], total: int
) -> None:
    counts = quotas([Share("s", weight=w) for _, w in sources], [n for n, _ in sources], total)
    assert sum(counts) == total
    whole = sum(w for _, w in sources)
    assert all(abs(count - total * w / whole) < 1 for count, (_, w) in zip(counts, sources, strict=True))


@pytest.mark.parametrize(
    ("shares", "available", "total", "message"),
    [
        ([Share("a", weight=1), Share("b", weight=1)], [5, 0], None, "mix: b has no row left"),
        ([Share("a", weight=99), Share("b", weight=1)], [500, 500], 20, "the weight of b gives it no row of 20"),
    ],
)
def test_quotas_refuse_what_cannot_be_mixed(
    shares: list[Share], available: list[int], total: int | None, message: str
) -> None:
    with pytest.raises(UserError, match=message):
        quotas(shares, available, total)


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 40)), min_size=1, max_size=4), st.integers(0, 5))
def test_mixed_order_sees_every_row_equally_often(sources: list[tuple[int, int]], seed: int) -> None:
    available, counts = [n for n, _ in sources], [c for _, c in sources]
    order = mixed_order(available, counts, seed)
    assert order == mixed_order(available, counts, seed)
    for source, (rows, count) in enumerate(sources):
        seen = Counter(row for s, row in order if s == source)
        assert sum(seen.values()) == count
        times = [seen[row] for row in range(rows)]
        assert max(times) - min(times) <= 1


def test_mixed_order_holds_the_shares_in_every_stretch() -> None:
    """30, 60 and 10 %: any 100 rows in a row hold so many of each, give or take 2."""
    order = mixed_order([300, 600, 100], [300, 600, 100], seed=3)
    for start in range(0, 900, 50):
        stretch = Counter(source for source, _ in order[start : start + 100])
        assert all(abs(stretch[source] - share) <= 2 for source, share in enumerate((30, 60, 10)))


def test_another_seed_draws_other_rows() -> None:
    draws = [{row for _, row in mixed_order([1000], [100], seed)} for seed in (1, 2)]
    assert len(draws[0]) == len(draws[1]) == 100
    assert len(draws[0] & draws[1]) < 40


def test_epoch_lines_say_how_often_a_row_is_seen() -> None:
    """170 rows of 100 in one epoch: 1.7 passes; two epochs: 3.4."""
    drawn = [Drawn("a", 100, 170), Drawn("b", 400, 30)]
    assert epoch_lines(drawn, 200, 1) == [
        "source a: 170 of 200 rows (85%), 100 available; seen 1.7 times in 1 epoch",
        "source b: 30 of 200 rows (15%), 400 available; seen 0.1 times in 1 epoch",
    ]
    assert "seen 3.4 times in 2 epochs" in epoch_lines(drawn, 200, 2)[0]


def test_counted_counts_a_part_of_a_mixture() -> None:
    order = mixed_order([10, 10], [10, 10], 0)
    assert [d.rows for d in counted(["a", "b"], order[:10], [10, 10])] == [5, 5]


def test_same_columns_fills_gaps_and_refuses_mixed_types() -> None:
    parts = [[{"prompt": "p", "answer": "4"}], [{"prompt": "q", "family": "x"}]]
    filled = same_columns(parts, ["a", "b"])
    assert filled[1][0] == {"prompt": "q", "answer": None, "family": "x"}
    with pytest.raises(UserError, match=r"column answer is str in a and a number in b"):
        same_columns([[{"answer": "4"}], [{"answer": 4}]], ["a", "b"])
