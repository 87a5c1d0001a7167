"""Near duplicates: MinHash LSH against similarities computed by hand."""

import random

import pytest

from data.near_dedup import SHINGLE, banding, near_duplicates
from data.normalise import tokens

ALPHABETS = {
    "urdu": "ابپتٹجچدرسشعکگلمنوہی",
    "bengali": "কখগঘচছজটডতদনপবমরলশসহ",
    "amharic": "ሀለሐመሠረሰሸቀበተኀነአከወዘየደገጠጸ",
    "latin": "abcdefghijklmnopqrst",
}


def text_of(script: str, num_tokens: int, seed: int) -> list[str]:
    """Return tokens of random letters; Chinese has one character each."""
    rng = random.Random(f"{script}{seed}")
    if script == "chinese":
        return [chr(rng.randrange(0x4E00, 0x9FA5)) for _ in range(num_tokens)]
    return ["".join(rng.choices(ALPHABETS[script], k=rng.randint(3, 8))) for _ in range(num_tokens)]


def shown(script: str, words: list[str]) -> list[str]:
    return [("" if script == "chinese" else " ").join(words)]


def exact_similarity(one: list[str], other: list[str]) -> float:
    first, second = (
        {tuple(t[i : i + SHINGLE]) for i in range(len(t) - SHINGLE + 1)} for t in (tokens(one[0]), tokens(other[0]))
    )
    return len(first & second) / len(first | second)


@pytest.mark.parametrize("script", [*ALPHABETS, "chinese"])
def test_near_duplicates_are_found_in_every_script(script: str) -> None:
    """Of 100 tokens one is changed: 5 of 96 shingles differ, so the similarity is 91 / 101 = 0.901."""
    words = text_of(script, 100, 0)
    changed = [*words[:50], *text_of(script, 1, 1), *words[51:]]
    rows = [shown(script, words), shown(script, text_of(script, 100, 2)), shown(script, changed)]
    (found,) = near_duplicates(rows, 0.8)
    assert (found.row, found.of) == (2, 0)
    assert found.similarity == pytest.approx(91 / 101)
    assert near_duplicates(rows, 0.95) == []


def test_near_duplicates_drop_exactly_the_rows_that_reach_the_threshold() -> None:
    """Against all pairs compared by hand: no row is dropped below the threshold, and hardly any above it is missed."""
    rng = random.Random(5)
    rows = []
    for number in range(150):
        if number % 3 and rows:
            words = rng.choice(rows)[0].split()
            for place in rng.sample(range(60), rng.randint(1, 4)):
                words[place] = text_of("latin", 1, rng.randrange(10**6))[0]
            rows.append([" ".join(words)])
        else:
            rows.append([" ".join(text_of("latin", 60, number))])
    found = {d.row: d for d in near_duplicates(rows, 0.8)}
    for d in found.values():
        assert d.similarity == pytest.approx(exact_similarity(rows[d.row], rows[d.of]))
        assert d.similarity >= 0.8
        assert d.of not in found
    kept = [number for number in range(150) if number not in found]
    missed = [
        (one, other)
        for i, one in enumerate(kept)
        for other in kept[:i]
        if exact_similarity(rows[one], rows[other]) >= 0.8
    ]
    assert len(found) > 20
    assert len(missed) <= 1


def test_near_duplicates_keep_questions_that_differ_in_one_number() -> None:
    """Generated tasks share a template; another number is another task."""
    template = "State the final answer to the following arithmetic problem: {} + {} ="
    rows = [[template.format(a, b)] for a in range(10, 30) for b in range(10, 30)]
    assert near_duplicates(rows, 0.8) == []


@pytest.mark.parametrize(
    ("rows", "duplicates"),
    [
        ([["ja"], ["Ja!"], ["nein"]], [1]),  # shorter than a shingle: equal tokens
        ([["???"], ["!!!"], [""]], []),  # no tokens, nothing to compare
        ([["what is 3 + 4"], ["what is 3 - 4"]], []),
        ([], []),
    ],
)
def test_near_duplicates_of_short_rows(rows: list[list[str]], duplicates: list[int]) -> None:
    assert [d.row for d in near_duplicates(rows, 0.8)] == duplicates


@pytest.mark.parametrize(("threshold", "expected"), [(0.8, (21, 6)), (0.5, (42, 3)), (1.0, (2, 64))])
def test_banding_proposes_pairs_at_the_threshold(threshold: float, expected: tuple[int, int]) -> None:
    """At 0.8: 1 - (1 - 0.8**6)**21 = 0.998, while 7 rows a band would give 1 - (1 - 0.8**7)**18 = 0.985."""
    assert banding(threshold) == expected


def test_near_duplicates_do_not_depend_on_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("data.near_dedup._WORTH_PROCESSES", 1)
    rows = [[" ".join(text_of("latin", 30, number % 40))] for number in range(60)]
    alone = near_duplicates(rows, 0.8)
    assert [d.row for d in alone] == list(range(40, 60))
    assert near_duplicates(rows, 0.8, processes=2) == alone
