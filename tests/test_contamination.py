"""N-gram overlap of training rows with what a model is measured on."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.contamination import Match, Reference, Rule, contaminated
from data.normalise import tokens

GIRAFFE = "On Monday the old giraffe ate forty leaves, and on Tuesday it ate only seventeen of them; how many in all?"
SENTENCES = {
    "urdu": "احمد کے پاس پینتالیس کتابیں تھیں اور اس نے بارہ کتابیں اپنی بہن کو دے دیں اب اس کے پاس کتنی کتابیں ہیں؟",
    "bengali": "রহিমের কাছে পঁয়তাল্লিশটি বই ছিল এবং সে তার বোনকে বারোটি বই দিয়েছে এখন তার কাছে মোট কয়টি বই আছে বলো",
    "amharic": "አበበ አርባ አምስት መጻሕፍት ነበሩት ከእነርሱም አስራ ሁለቱን ለእህቱ ሰጣት አሁን ለእርሱ ስንት መጻሕፍት ቀሩት ብለህ ታስባለህ",
    "chinese": "小明有四十五本书，他送给妹妹十二本书，请问小明现在一共还剩下多少本书？",
}


def rows_of(*texts: str) -> list[list[str]]:
    return [[text] for text in texts]


def test_a_row_with_thirteen_words_of_an_item_is_contaminated() -> None:
    """GIRAFFE has 21 words. Words 3 to 15 of it are a 13-gram; 12 words are none."""
    words = tokens(GIRAFFE)
    thirteen, twelve = " ".join(words[3:16]), " ".join(words[3:15])
    rows = rows_of("nothing here", f"He said: {thirteen.upper()}!", f"He said: {twelve}.")
    (match,) = contaminated(rows, [Reference("zoo", "7", GIRAFFE)], Rule())
    assert match == Match(1, "zoo", "7", thirteen, 13 / 21)


@pytest.mark.parametrize("script", SENTENCES)
def test_an_item_inside_a_longer_row_is_found_in_every_script(script: str) -> None:
    item = SENTENCES[script]
    rows = rows_of(item[: len(item) // 4], f"{item} {item[:9]}", item.replace(" ", "  "))
    found = contaminated(rows, [Reference("suite", "0", item)], Rule())
    assert [(m.row, m.overlap) for m in found] == [(1, 1.0), (2, 1.0)]
    assert found[0].ngram == " ".join(tokens(item)[:13])


def test_items_of_8_to_12_words_are_compared_by_8_words() -> None:
    item = "Which river flows through the middle of old Vienna today?"
    rows = rows_of("flows through the middle of old Vienna", "river flows through the middle of old Vienna")
    assert [m.row for m in contaminated(rows, [Reference("s", "0", item)], Rule())] == [1]


def test_items_of_fewer_than_8_words_must_be_a_whole_message() -> None:
    rows = [["I asked what is 3 + 4 then", "7"], ["What is 3 + 4?", "7"], ["What is 3 - 4?", "-1"]]
    assert [m.row for m in contaminated(rows, [Reference("s", "0", "what is 3 + 4")], Rule())] == [1]


def test_an_ngram_never_spans_two_messages() -> None:
    words = tokens(GIRAFFE)
    rows = [[" ".join(words[:10]), " ".join(words[10:])]]
    assert contaminated(rows, [Reference("zoo", "0", GIRAFFE)], Rule()) == []


def test_overlap_asks_for_a_share_of_the_items_tokens() -> None:
    """Tulu 3: 8-grams over more than half. 9 of 21 tokens are too few, 12 enough."""
    words = tokens(GIRAFFE)
    rows = rows_of(" ".join(words[:9]), " ".join(words[:12]))
    found = contaminated(rows, [Reference("zoo", "0", GIRAFFE)], Rule(ngram=8, overlap=0.5))
    assert [(m.row, m.overlap) for m in found] == [(1, 12 / 21)]


def test_instructions_shared_by_many_items_prove_nothing() -> None:
    opening = "Read the passage below with care and then choose the one right answer from the four options given"
    items = [Reference("quiz", str(n), f"{opening}: is {n * 37} a prime number or {n * 11} perhaps") for n in range(30)]
    rows = rows_of(f"{opening}: who wrote Hamlet?", items[4].text)
    assert {(m.row, m.item) for m in contaminated(rows, items, Rule())} == {(1, "4")}


def test_an_item_that_is_all_boilerplate_is_compared_whole() -> None:
    items = [Reference("quiz", str(n), GIRAFFE) for n in range(30)]
    found = contaminated(rows_of(GIRAFFE, " ".join(tokens(GIRAFFE)[:15])), items, Rule())
    assert {m.row for m in found} == {0}
    assert len(found) == 30


def test_generated_items_are_compared_as_whole_questions() -> None:
    template = "State the final answer to the following arithmetic problem, as a number: {} + {} ="
    items = [Reference("made", str(n), template.format(n, 7), whole=True) for n in range(3)]
    rows = rows_of(template.format(2, 8), "Hi! " + template.format(2, 7), template.format(12, 7))
    assert [(m.row, m.item) for m in contaminated(rows, items, Rule())] == [(1, "2")]


def test_items_without_a_token_match_nothing() -> None:
    assert contaminated(rows_of("?!", ""), [Reference("s", "0", "?!"), Reference("s", "1", "")], Rule()) == []
    assert contaminated(rows_of("some row"), [], Rule()) == []


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=9)


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=5), st.lists(WORDS, min_size=1, max_size=4))
def test_contaminated_agrees_with_comparing_every_window(rows: list[list[str]], items: list[list[str]]) -> None:
    """With n-grams of 3, for items short and long, each item its own source (so nothing is boilerplate)."""
    references = [Reference(str(n), "0", " ".join(words)) for n, words in enumerate(items)]
    found = contaminated(rows_of(*map(" ".join, rows)), references, Rule(ngram=3, short_ngram=2))

    def windows(words: list[str], width: int) -> set[tuple[str, ...]]:
        return {tuple(words[i : i + width]) for i in range(len(words) - width + 1)}

    expected = set()
    for row, words in enumerate(rows):
        for place, item in enumerate(items):
            if len(item) < 2:
                overlaps = bool(item) and words == item
            else:
                width = 3 if len(item) >= 3 else 2
                overlaps = bool(windows(item, width) & windows(words, width))
            if overlaps:
                expected.add((row, str(place)))
    assert {(m.row, m.source) for m in found} == expected
