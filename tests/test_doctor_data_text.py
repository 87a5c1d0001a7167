"""Tokens shown as text: scripts whose letters are several bytes, right-to-left, whitespace, control tokens."""

from pathlib import Path
from typing import Any

import pytest

from data.doctor.preview import CONTEXT, CUT, PADDING, TRAINED, lines, pieces
from data.doctor.sequences import TokenRow, TokenSequence
from launch.data_view import preview_texts
from training.data_doctor import prompt_rows
from training.models import load_tokenizer
from training.report.data_page import preview_rows

TEXTS = {
    "Urdu": "دو اور دو چار ہوتے ہیں۔ جواب: ۴",
    "Bengali": "দুই আর দুই মিলে চার হয়। উত্তর: ৪",
    "Amharic": "ሁለት ሲደመር ሁለት አራት ነው። መልስ፦ ፬",
    "Chinese": "二加二等于四。答案：四",
    "emoji": "ok 👩‍👩‍👧\tend\n",
}


@pytest.fixture(scope="module")
def tokenizer(tiny_model: Path) -> Any:
    return load_tokenizer(tiny_model)


def sequence(tokenizer: Any, text: str, trained_from: int = 0) -> TokenSequence:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    return TokenSequence(ids, [place >= trained_from for place in range(len(ids))])


def decode(tokenizer: Any) -> Any:
    return lambda ids: tokenizer.decode(ids, clean_up_tokenization_spaces=False)


@pytest.mark.parametrize("name", TEXTS)
def test_pieces_make_the_text_again_and_show_every_token_once(name: str, tokenizer: Any) -> None:
    given = sequence(tokenizer, TEXTS[name])
    shown = pieces(given, decode(tokenizer), frozenset())
    assert "".join(piece.text for piece in shown) == TEXTS[name]
    assert [token for piece in shown for token in piece.ids] == list(given.ids)
    assert not any("\ufffd" in piece.text for piece in shown)


@pytest.mark.parametrize("name", TEXTS)
def test_lengths_are_tokens_whatever_the_script(name: str, tokenizer: Any) -> None:
    """A prompt of n copies is longer by as many tokens each time: nothing counts words or characters."""
    prompts = [{"prompt": [{"role": "user", "content": TEXTS[name] * copies}]} for copies in (1, 2, 3)]
    lengths = [len(row.sequences["prompt"]) for row in prompt_rows(prompts, [0, 1, 2], tokenizer)]
    one = len(tokenizer(TEXTS[name] * 2, add_special_tokens=False)["input_ids"]) - len(
        tokenizer(TEXTS[name], add_special_tokens=False)["input_ids"]
    )
    assert lengths[2] - lengths[1] == pytest.approx(one, abs=1)
    assert lengths[1] - lengths[0] == pytest.approx(one, abs=1)


def test_states_follow_labels_and_limit_and_padding_fills_the_width(tokenizer: Any) -> None:
    ids = tokenizer("abcdef", add_special_tokens=False)["input_ids"]
    given = TokenSequence(ids, [place >= 2 for place in range(len(ids))], slice(None, 4))
    shown = pieces(given, decode(tokenizer), frozenset(), width=9)
    assert [piece.state for piece in shown] == [CONTEXT] * 2 + [TRAINED] * 2 + [CUT] * (len(ids) - 4) + [PADDING]
    assert shown[-1].text == "5"


def test_a_character_split_between_context_and_trained_tokens_is_not_shown_as_one(tokenizer: Any) -> None:
    ids = tokenizer("আ", add_special_tokens=False)["input_ids"]
    if len(ids) == 1:
        pytest.skip("this tokenizer has the letter whole")
    given = TokenSequence(ids, [place > 0 for place in range(len(ids))])
    shown = pieces(given, decode(tokenizer), frozenset())
    assert shown[0].state == CONTEXT
    assert sum(len(piece.ids) for piece in shown) == len(ids)


def test_lines_end_with_their_newline(tokenizer: Any) -> None:
    shown = pieces(sequence(tokenizer, "a\nb\n\nc"), decode(tokenizer), frozenset())
    assert ["".join(piece.text for piece in line) for line in lines(shown)] == ["a\n", "b\n", "\n", "c"]


def test_terminal_text_marks_trained_tokens_without_colours(tokenizer: Any) -> None:
    row = TokenRow(3, {"row": sequence(tokenizer, "a b", trained_from=1)}, True)
    ((_, text),) = preview_texts(row, tokenizer, coloured=False)
    assert text.plain.strip() == "a[·][b]"
    ((_, coloured),) = preview_texts(row, tokenizer, coloured=True)
    assert coloured.plain.strip() == "a·b"
    assert {str(span.style) for span in coloured.spans} == {"dim", "black on green"}


def test_page_gives_each_line_its_own_direction_and_escapes_what_rows_hold(tokenizer: Any) -> None:
    text = f"{TEXTS['Urdu']}\n<script>alert(1)</script>"
    (card,) = preview_rows([TokenRow(0, {"row": sequence(tokenizer, text)}, True)], tokenizer)
    assert card.count('<p dir="auto">') == 2
    assert "<script" not in card
    assert "&lt;" in card
