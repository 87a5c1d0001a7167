"""Normalisation in many scripts, and exact duplicates."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data.dedup import Duplicate, exact_duplicates
from data.normalise import normalised, prompt_text, row_segments, tokens


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("What  is\n2 + 2?", "what is 2 + 2?"),
        ("ＡＢＣ　１２", "abc 12"),  # full width
        ("Straße", "STRASSE"),
        ("ﬁnd", "find"),  # a ligature
        ("cafe\u0301", "café"),  # decomposed
        ("دار\u200cالحکومت", "دارالحکومت"),  # Urdu with a zero-width non-joiner
        ("\u200fپاکستان\u200f", "پاکستان"),  # direction marks
        ("ক\u09c7\u09be", "ক\u09cb"),  # Bengali vowel sign o, written in two parts
        ("中国，北京", "中国,北京"),  # NFKC makes the full-width comma ASCII
        ("ሰላም\u00a0ለዓለም", "ሰላም ለዓለም"),  # Amharic, no-break space
        ("\ufeffone", "one"),
    ],
)
def test_normalised_equates_what_reads_the_same(one: str, other: str) -> None:
    assert one != other
    assert normalised(one) == normalised(other)


@pytest.mark.parametrize(
    ("one", "other"), [("3.5", "35"), ("2 + 3", "2 - 3"), ("Go!", "Go?"), ("১২", "১৩"), ("é", "e")]
)
def test_normalised_keeps_apart_what_means_something_else(one: str, other: str) -> None:
    assert normalised(one) != normalised(other)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("It's well-known: 3.5 - 2 = 1.5!", ["it", "s", "well", "known", "3", "5", "-", "2", "=", "1", "5"]),
        ("বাংলাদেশের রাজধানী কী?", ["বাংলাদেশের", "রাজধানী", "কী"]),
        ("پاکستان کا دار\u200cالحکومت کیا ہے؟", ["پاکستان", "کا", "دارالحکومت", "کیا", "ہے"]),
        ("የኢትዮጵያ ዋና ከተማ ማን ናት?", ["የኢትዮጵያ", "ዋና", "ከተማ", "ማን", "ናት"]),
        ("中国的首都。", ["中", "国", "的", "首", "都"]),
        ("GPT是模型", ["gpt", "是", "模", "型"]),
        ("𠀀字", ["𠀀", "字"]),  # a Han character beyond the basic plane
        ("٣ × ٤", ["٣", "×", "٤"]),
        ("?! …", []),
    ],
)
def test_tokens_are_words_characters_and_operators(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text())
def test_normalised_twice_is_normalised_once(text: str) -> None:
    assert normalised(normalised(text)) == normalised(text)
    assert "\n" not in normalised(text)


@given(st.lists(st.text(max_size=3), max_size=12))
def test_exact_duplicates_finds_all_but_the_first_of_each_text(texts: list[str]) -> None:
    found = exact_duplicates([[text] for text in texts])
    assert len(texts) - len(found) == len({normalised(text) for text in texts})
    assert all(normalised(texts[d.of]) == normalised(texts[d.row]) and d.of < d.row for d in found)


def test_exact_duplicates_compares_segments_one_by_one() -> None:
    rows = [["a b", "c"], ["a", "b c"], ["A  b", "C"], ["\ud800"]]
    assert exact_duplicates(rows) == [Duplicate(2, 0)]


def test_row_segments_leave_out_the_pipelines_system_message_only() -> None:
    system = {"role": "system", "content": "Be brief."}
    own = {"role": "system", "content": "You are a pirate."}
    user, answer = {"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}
    assert row_segments({"prompt": [system, user], "completion": [answer]}, "Be brief.") == ["Hi", "Hello"]
    assert row_segments({"prompt": [own, user], "answer": 4}, "Be brief.") == ["You are a pirate.", "Hi", "4"]


def test_prompt_text_tells_roles_apart() -> None:
    as_user = prompt_text({"prompt": [{"role": "user", "content": "HI "}]})
    assert as_user == prompt_text({"prompt": [{"role": "user", "content": "hi"}]})
    assert as_user != prompt_text({"prompt": [{"role": "system", "content": "hi"}]})


def test_exact_duplicates_takes_thousands_of_rows_in_seconds() -> None:
    rows = [[" ".join(str(n * 7919 % 3989 + word) for word in range(200))] for n in range(4000)]
    start = time.process_time()
    assert len(exact_duplicates(rows)) == 4000 - 3989
    assert time.process_time() - start < 2  # 100,000 rows take under 10 s on a quiet machine
