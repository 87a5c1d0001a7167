"""The data doctor's findings on rows of tokens made by hand: 1 is BOS, 2 ends a turn, 9 is a newline."""

import math

import pytest

from data.doctor.examination import examine
from data.doctor.flags import FLAGS, NOTES, flags
from data.doctor.sequences import TokenFacts, TokenRow, TokenSequence
from data.doctor.tallies import histogram, mean_interval, quantile, share_interval

FACTS = TokenFacts(bos_id=1, end_ids=frozenset({2}), is_blank=lambda token: token == 9, limit=6)
LIMIT = slice(None, 6)


def row(ids: list[int], trained_from: int, number: int = 0, matches: bool = True, window: slice = LIMIT) -> TokenRow:
    """A row whose tokens from `trained_from` on have a label."""
    trained = [place >= trained_from for place in range(len(ids))]
    return TokenRow(number, {"row": TokenSequence(ids, trained, window)}, matches)


def pair(chosen: list[int], rejected: list[int], prompt: int = 2, window: slice = LIMIT) -> TokenRow:
    sequences = {
        name: TokenSequence(ids, [place >= prompt for place in range(len(ids))], window)
        for name, ids in (("chosen", chosen), ("rejected", rejected))
    }
    return TokenRow(0, sequences, True)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row([1, 5, 6, 2], 2), []),
        (row([1, 5, 6, 2, 9], 2), []),  # a template's newline after the end of the turn
        (row([1, 5, 6, 7, 8, 5, 6, 2], 2), []),  # the end lies beyond the limit: cut, not untrained
        (row([1, 5, 6, 2], 4), ["no_trained_token"]),
        (row([1, 5, 6, 7, 8, 5, 6, 2], 6), ["no_trained_token_within_limit"]),
        (row([1, 5, 6, 7], 2), ["end_of_turn_not_trained"]),
        (row([1, 5, 6, 9], 2), ["end_of_turn_not_trained"]),
        (row([1, 1, 5, 6, 2], 3), ["two_bos"]),
        (row([1, 5, 1, 1, 6, 2], 2), []),  # BOS once a turn, as in ChatML
        (row([1, 5, 6, 2], 2, matches=False), ["prompt_differs_from_rollout"]),
        (row([], 0), ["no_trained_token"]),
        (pair([1, 5, 6, 2], [1, 5, 7, 2]), []),
        (pair([1, 5, 6, 2], [1, 5, 6, 2]), ["chosen_equals_rejected"]),
        (pair([1, 5, 6, 2], [1, 8, 7, 2]), ["prompts_differ"]),
        (pair([1, 5, 6, 7, 8, 6, 5, 2], [1, 5, 6, 7, 8, 6, 7, 2]), ["chosen_equals_rejected"]),  # inside the limit
        (pair([1, 5, 6, 2], [1, 5]), ["no_trained_token"]),
    ],
)
def test_flags_of_a_row(given: TokenRow, expected: list[str]) -> None:
    assert flags(given, FACTS) == expected


def test_prompt_of_a_rollout_must_leave_room_for_its_completion() -> None:
    facts = TokenFacts(1, frozenset({2}), FACTS.is_blank, limit=6, room=3)
    for length, expected in ((3, []), (4, ["prompt_over_limit"])):
        prompt = TokenRow(0, {"prompt": TokenSequence([1, 5, 6, 7][:length], [False] * length)})
        assert flags(prompt, facts) == expected


def test_end_of_turn_without_a_label_is_flagged_although_the_rest_is_trained() -> None:
    """What `pad = eos` does when padding is masked by its id."""
    masked = TokenRow(0, {"row": TokenSequence([1, 5, 6, 2], [False, False, True, False])}, True)
    assert flags(masked, FACTS) == ["end_of_turn_not_trained"]


def test_limit_that_keeps_the_end_counts_trained_tokens_there() -> None:
    kept = row([1, 5, 6, 7, 8, 5, 6, 2], 6, window=slice(-6, None))
    assert flags(kept, FACTS) == []
    assert kept.sequences["row"].num_trained_kept == 2


def test_examination_accounts_for_every_row_by_its_number() -> None:
    rows = [
        row([1, 5, 6, 2], 2, number=10),
        row([1, 5, 6, 2], 2, number=12),  # the same tokens again
        row([1, 1, 6, 7], 4, number=13, matches=False),  # three flags, one row
        row([1, 5, 6, 7, 8, 5, 6, 2], 3, number=17),
    ]
    found = examine(rows, FACTS)
    assert found.flagged == {"no_trained_token": [13], "two_bos": [13], "prompt_differs_from_rollout": [13]}
    assert found.noted == {"duplicate": [12], "cut_by_limit": [17]}
    assert (found.rows, found.num_flagged_rows, found.flagged_share, found.over_limit) == (4, 1, 0.25, 1)
    assert {(finding["row"], finding["error"]) for finding in found.findings()} == {
        (13, True),
        (12, False),
        (17, False),
    }
    summary = found.summary()
    assert summary["tokens"]["row"] == {"min": 4, "median": 4, "p95": 8, "max": 8, "sum": 20}
    assert summary["trained_tokens"]["row"] == {"min": 0, "median": 2, "p95": 3, "max": 3, "sum": 7}
    assert set(summary["flagged"]) <= set(FLAGS)
    assert set(summary["noted"]) <= set(NOTES)


def test_previews_show_flagged_rows_first_but_not_one_trouble_alone() -> None:
    bad = [row([1, 5, 6, 7], 2, number=number) for number in range(6)]
    good = [row([1, 5, 6, 2], 2, number=number) for number in range(10, 14)]
    found = examine([*good, *bad], FACTS, previews=4)
    assert [shown.number for shown in found.previews] == [0, 1, 10, 11]
    assert examine(bad, FACTS, previews=0).previews == []


def test_length_bias_of_pairs_by_hand() -> None:
    """Chosen less rejected: 2, 1, 0. Mean 1, sample deviation 1, half width 1.96 / sqrt(3) = 1.13; two of two unequal
    pairs have the longer chosen: Wilson (share 1, n 2) from 1 / (1 + 3.84 / 2) = 0.3424."""
    pairs = [
        pair([1, 5, 6, 7, 8, 2], [1, 5, 6, 2]),
        pair([1, 5, 6, 7, 2], [1, 5, 6, 2]),
        pair([1, 5, 7, 2], [1, 5, 6, 2]),
    ]
    bias = examine(pairs, FACTS).summary()["length_bias"]
    assert bias["mean"] == 1.0
    assert bias["ci95"] == [pytest.approx(1 - 1.1316, abs=0.01), pytest.approx(1 + 1.1316, abs=0.01)]
    assert bias["chosen_longer"] == 1.0
    assert bias["chosen_longer_ci95"] == [pytest.approx(0.3424, abs=1e-4), 1.0]


def test_histogram_counts_everything_in_few_bins_of_a_power_of_two() -> None:
    values = [0, 1, 1, 1023, 1024, 5000]
    bins = histogram(values, max_bins=16)
    assert math.log2(bins.width).is_integer()
    assert len(bins.counts) <= 16
    assert sum(bins.counts) == len(values)
    edges = [bins.bounds(place) for place in range(len(bins.counts))]
    assert all(low <= 1023 or low >= 1024 for low, _ in edges)
    assert not any(low <= 1023 < 1024 <= high for low, high in edges)
    assert histogram([]).counts == []


def test_statistics_by_hand() -> None:
    assert [quantile([1, 2, 3, 4], share) for share in (0.0, 0.5, 0.95, 1.0)] == [1, 2, 4, 4]
    assert mean_interval([3.0]) == (3.0, 3.0, 3.0)
    share, low, high = share_interval(0, 10)
    assert (share, low) == (0.0, 0.0)
    assert high == pytest.approx(0.2775, abs=1e-4)
