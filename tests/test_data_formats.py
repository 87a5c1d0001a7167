"""Every row shape as message lists, and the mistakes in them."""

from typing import Any

import pytest

from data.errors import UserError
from data.formats import prompt_texts, to_preference, to_prompts, to_sft
from data.limits import long_prompts

USER = {"role": "user", "content": "2 + 3 ="}
GOOD = {"role": "assistant", "content": "5"}
BAD = {"role": "assistant", "content": "6"}
SYSTEM = {"role": "system", "content": "Be brief."}


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 3 =", "completion": "5"},
        {"prompt": [USER], "completion": [GOOD]},
        {"prompt": "2 + 3 =", "completion": [GOOD], "messages": None},
        {"messages": [USER, GOOD]},
        {"messages": [{**USER, "name": "x"}, GOOD], "family": "sums"},
    ],
)
def test_to_sft_every_shape_is_prompt_and_completion(row: dict[str, Any]) -> None:
    assert to_sft([row]) == [{"prompt": [USER], "completion": [GOOD]}]
    assert to_sft([row], "Be brief.")[0]["prompt"] == [SYSTEM, USER]


def test_to_sft_of_a_conversation_trains_its_last_answer() -> None:
    rows = to_sft([{"messages": [USER, BAD, USER, GOOD]}])
    assert rows == [{"prompt": [USER, BAD, USER], "completion": [GOOD]}]


def test_to_sft_rows_own_system_message_stays() -> None:
    own = {"role": "system", "content": "Own."}
    assert to_sft([{"messages": [own, USER, GOOD]}], "Be brief.")[0]["prompt"] == [own, USER]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "2 + 3 =", "chosen": "5", "rejected": "6"},
        {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]},
        {"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
    ],
)
def test_to_preference_every_shape_is_prompt_chosen_rejected(row: dict[str, Any]) -> None:
    assert to_preference([{**row, "answer": "5"}], "Be brief.") == [
        {"prompt": [SYSTEM, USER], "chosen": [GOOD], "rejected": [BAD], "answer": "5"}
    ]


@pytest.mark.parametrize(
    "row", [{"prompt": "2 + 3 ="}, {"prompt": [USER]}, {"messages": [USER, GOOD]}, {"messages": [USER]}]
)
def test_to_prompts_every_shape_is_a_prompt_with_its_other_columns(row: dict[str, Any]) -> None:
    rows = to_prompts([{**row, "answer": "5", "family": "sums", "completion": "5"}], "Be brief.")
    assert rows == [{"prompt": [SYSTEM, USER], "answer": "5", "family": "sums"}]


@pytest.mark.parametrize("convert", [to_sft, to_preference, to_prompts])
def test_formats_empty_data_is_refused(convert: Any) -> None:
    with pytest.raises(UserError, match="data set is empty"):
        convert([])


@pytest.mark.parametrize(
    ("convert", "row", "message"),
    [
        (to_sft, {"question": "x", "text": "y"}, r"messages or prompt\+completion.*; found: question, text.*columns:"),
        (to_sft, {"prompt": "x"}, "found: prompt"),
        (to_preference, {"prompt": "x", "chosen": "y"}, r"prompt\+chosen\+rejected or chosen\+rejected"),
        (to_prompts, {"answer": "5"}, "prompt or messages.*; found: answer"),
        (to_sft, {"prompt": " ", "completion": "y"}, "row 0: prompt is empty"),
        (to_sft, {"prompt": "x", "completion": 5}, "row 0: completion is a number"),
        (to_sft, {"messages": [USER]}, "no answer to train on"),
        (to_sft, {"messages": [GOOD]}, r"messages\[0\] is the assistant's and comes first"),
        (to_sft, {"messages": [{"role": "human", "content": "x"}, GOOD]}, "role 'human'"),
        (to_sft, {"messages": [{"from": "human", "value": "x"}]}, "a message is"),
        (to_sft, {"messages": "a text"}, "without a prompt column"),
        (to_preference, {"chosen": "good", "rejected": "bad"}, "give prompt"),
        (to_preference, {"chosen": [USER, GOOD], "rejected": [SYSTEM, USER, BAD]}, "different prompts"),
        (to_preference, {"prompt": "x", "chosen": [USER], "rejected": "y"}, "begins with user"),
        (to_prompts, {"prompt": [SYSTEM]}, "no user message"),
        (to_prompts, {"prompt": []}, "prompt is empty"),
    ],
)
def test_formats_wrong_rows_name_the_row_and_what_is_needed(convert: Any, row: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert([row])


def test_formats_one_row_without_its_column_is_named() -> None:
    with pytest.raises(UserError, match="row 1: completion is missing"):
        to_sft([{"prompt": "x", "completion": "y"}, {"prompt": "z", "completion": None}])


def test_prompt_texts_normalises_whitespace_in_every_shape() -> None:
    rows = [
        {"prompt": " 2 +\n3  = "},
        {"prompt": [SYSTEM, USER]},
        {"messages": [USER, GOOD]},
        {"chosen": [USER, GOOD], "rejected": [USER, BAD]},
        {"prompt": "another"},
    ]
    assert prompt_texts(rows) == {"2 + 3 =", "another"}


class WordTokenizer:
    """A tokenizer of one token a word, whose template adds 1 token a message and 1 to begin the answer."""

    def apply_chat_template(self, prompt: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool) -> str:
        assert not tokenize
        assert add_generation_prompt
        return " ".join(f"<{message['role']}> {message['content']}" for message in prompt) + " <assistant>"

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        assert not add_special_tokens, "the template has written them"
        return {"input_ids": [len(word) for word in text.split()]}


def test_long_prompts_counts_the_rendered_prompt() -> None:
    """ "a b" renders to <user> a b <assistant>: 4 tokens; "a b c" to 5."""
    rows = to_prompts([{"prompt": "a b"}, {"prompt": "a b c"}, {"prompt": "a"}])
    assert long_prompts(rows, WordTokenizer(), 4) == {1: "5 tokens"}
