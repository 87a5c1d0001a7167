"""Every format as other tools ship it: recognised by its columns, and what it becomes; what is refused by name."""

from pathlib import Path
from typing import Any

import pytest

from data.accounting import Account, Rows
from data.errors import UserError
from data.formats import convert, prompt_texts, to_preference, to_prompts, to_sft
from data.formats.format import Format
from data.formats.table import FORMATS

DOCS = Path(__file__).resolve().parent.parent / "docs" / "data.md"


def rows_of(*rows: dict[str, Any], max_bad_rows: float = 0.0) -> Rows:
    account = Account("made.jsonl", max_bad_rows)
    account.origin.begin("made.jsonl")
    numbers = [account.origin.add(line + 1) for line in range(len(rows))]
    return Rows(list(rows), {}, len(rows), account, numbers)


def user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, str]:
    return {"role": "assistant", "content": text}


SYSTEM = {"role": "system", "content": "Kurz."}
TURNS = [{"from": "system", "value": "Kurz."}, {"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}]
HH = "\n\nHuman: a?\n\nAssistant: why?\n\nHuman: the Human: asks\n\nAssistant: "
ARC = {"text": ["ice", "fire"], "label": ["A", "B"]}
SOLUTION = "So $x = \\frac{1}{2}$ and the answer is $\\boxed{\\frac{1}{2}}$."

SFT = [
    ("alpaca", {"instruction": "Add.", "input": "1, 2", "output": "3"}, [user("Add.\n\n1, 2")], "3"),
    ("alpaca", {"instruction": "Greet.", "input": "", "output": "Hi", "system": " "}, [user("Greet.")], "Hi"),
    (
        "alpaca",
        {"instruction": "c?", "output": "d", "history": [["a?", "b"]], "system": "Kurz."},
        [SYSTEM, user("a?"), assistant("b"), user("c?")],
        "d",
    ),
    ("sharegpt", {"conversations": TURNS}, [SYSTEM, user("a?")], "b"),
    ("sharegpt", {"conversations": TURNS[1:], "system": "Kurz.", "tools": "[]"}, [SYSTEM, user("a?")], "b"),
    ("conversations", {"conversations": [user("a?"), assistant("b")]}, [user("a?")], "b"),
    ("messages", {"messages": [user("a?"), assistant("b")], "prompt": "a?"}, [user("a?")], "b"),
    ("kto", {"prompt": "a?", "completion": "b", "label": True}, [user("a?")], "b"),
    ("gsm8k", {"question": "a?", "answer": "2 + 2 = 4\n#### 4"}, [user("a?")], "2 + 2 = 4\n#### 4"),
    ("math", {"problem": "x?", "solution": SOLUTION}, [user("x?")], SOLUTION),
    ("prompt-completion", {"prompt": "a?", "completion": "b", "label": "spam"}, [user("a?")], "b"),
]


@pytest.mark.parametrize(("form", "row", "prompt", "completion"), SFT)
def test_sft_rows_of_every_format_are_recognised(form: str, row: Any, prompt: Any, completion: str) -> None:
    made = convert(rows_of(row), "sft")
    assert made.rows == [{"prompt": prompt, "completion": [assistant(completion)]}]
    assert made.source["format"] == form


PAIRS = [
    ("hh-rlhf", {"chosen": HH + "x", "rejected": HH + "y"}, [user("a?"), assistant("why?"), user("the Human: asks")]),
    (
        "hh-rlhf-prompt",
        {"prompt": "\n\nHuman: a?\n\nAssistant:", "chosen": "x", "rejected": "y"},
        [user("a?")],
    ),
    ("orca-dpo", {"system": "Kurz.", "question": "a?", "chosen": "x", "rejected": "y"}, [SYSTEM, user("a?")]),
    ("orca-dpo", {"system": "", "question": "a?", "chosen": "x", "rejected": "y"}, [user("a?")]),
    (
        "sharegpt-preference",
        {
            "conversations": TURNS[:2],
            "chosen": {"from": "gpt", "value": "x"},
            "rejected": {"from": "gpt", "value": "y"},
        },
        [SYSTEM, user("a?")],
    ),
    ("alpaca-preference", {"instruction": "a", "input": "b", "chosen": "x", "rejected": "y"}, [user("a\n\nb")]),
    (
        "preference",
        {
            "prompt": "a?",
            "messages": [user("a?"), assistant("x")],
            "chosen": [user("a?"), assistant("x")],
            "rejected": [user("a?"), assistant("y")],
        },
        [user("a?")],
    ),
    ("preference", {"prompt": "a?", "chosen": assistant("x"), "rejected": assistant("y")}, [user("a?")]),
]


@pytest.mark.parametrize(("form", "row", "prompt"), PAIRS)
def test_preference_rows_of_every_format_are_recognised(form: str, row: Any, prompt: Any) -> None:
    made = convert(rows_of({**row, "id": 7}), "preference")
    assert made.rows == [{"id": 7, "prompt": prompt, "chosen": [assistant("x")], "rejected": [assistant("y")]}]
    assert made.source["format"] == form


QUESTIONS = [
    ("gsm8k", {"question": "a?", "answer": "Of 1,000\n#### 1,000"}, "a?", "1,000"),
    ("svamp", {"Body": "Ana has 2 pens.", "Question": "How many?", "Answer": 2.0}, "Ana has 2 pens. How many?", "2"),
    ("svamp", {"Body": "Ana has 2.5 l", "Question": "How much?", "Answer": 2.5}, "Ana has 2.5 l How much?", "2.5"),
    ("math", {"problem": "x?", "solution": SOLUTION}, "x?", "\\frac{1}{2}"),
    ("math", {"problem": "x?", "solution": SOLUTION, "answer": "0.5"}, "x?", "0.5"),
    ("problem-answer", {"problem": "x?", "answer": 3}, "x?", "3"),
    ("question-answer", {"question": "a?", "answer": True}, "a?", "True"),
    ("multiple-choice-options-answer", {"question": "a?", "options": ["x", "y"], "answer": 1}, "a?\nA. x\nB. y", "B"),
    ("multiple-choice-choices-answer", {"question": "a?", "choices": ["x", "y"], "answer": "y"}, "a?\nA. x\nB. y", "B"),
    (
        "multiple-choice-choices-answerKey",
        {"question": "a?", "choices": ARC, "answerKey": "A"},
        "a?\nA. ice\nB. fire",
        "A",
    ),
]


@pytest.mark.parametrize(("form", "row", "question", "answer"), QUESTIONS)
def test_questions_with_answers_are_recognised(form: str, row: Any, question: str, answer: str) -> None:
    made = convert(rows_of({**row, "level": 3}), "prompt", "Kurz.")
    assert made.rows == [{"level": 3, "prompt": [SYSTEM, user(question)], "answer": answer}]
    assert made.source["format"] == form
    assert prompt_texts([row]) == {" ".join(question.split())}


def test_kto_rows_that_are_undesirable_are_dropped_and_counted() -> None:
    rows = [{"prompt": f"{n}?", "completion": "b", "label": n % 2 == 0} for n in range(4)]
    made = convert(rows_of(*rows), "sft")
    assert made.numbers == [0, 2]
    assert made.account.counts() == {"undesirable": 2}
    assert [row["row"] for row in made.account.lines()] == [1, 3]
    assert len(to_prompts(rows)) == 4
    with pytest.raises(UserError, match=r"look like kto rows.*No pairs"):
        to_preference(rows)


def test_labels_that_may_be_kto_or_a_class_are_refused_until_declared() -> None:
    """0 and 1 are truth values in one data set and classes in another: training on the undesirable half is not ours."""
    rows = [{"prompt": "a?", "completion": "b", "label": n} for n in (1, 0)]
    with pytest.raises(UserError, match=r"made\.jsonl:1 fits several formats: kto \(.*; prompt-completion \(.*Declare"):
        convert(rows_of(*rows), "sft")
    assert convert(rows_of(*rows), "sft", form="kto").numbers == [0]
    assert convert(rows_of(*rows), "sft", form="prompt-completion").numbers == [0, 1]
    assert len(to_sft([{**rows[0], "label": 5}, *rows])) == 3, "a third class settles it"


def test_candidates_that_mean_the_same_are_not_ambiguous() -> None:
    row = {"messages": [user("a?"), assistant("b")], "prompt": "a?"}
    assert to_prompts([row]) == [{"prompt": [user("a?")]}]
    with pytest.raises(UserError, match=r"row 0 fits several formats: messages .*; prompt"):
        to_prompts([row, {**row, "prompt": "another?"}])


def test_rows_of_different_formats_are_refused_with_a_place_of_each() -> None:
    rows = rows_of({"instruction": "a", "output": "b"}, {"messages": [user("a?"), assistant("b")]})
    with pytest.raises(UserError, match=r"made\.jsonl:1 is alpaca; made\.jsonl:2 is messages.*one source for each"):
        convert(rows, "sft")


def test_declared_format_drops_rows_of_another_within_the_share() -> None:
    rows = [{"instruction": "a", "output": "b"}, {"messages": [user("a?"), assistant("b")]}]
    made = convert(rows_of(*rows, max_bad_rows=0.5), "sft", form="alpaca")
    assert (made.numbers, made.account.counts()) == ([0], {"missing": 1})
    with pytest.raises(UserError, match=r"1 of 2 rows are bad, more than the share max_bad_rows=0\.4"):
        convert(rows_of(*rows, max_bad_rows=0.4), "sft", form="alpaca")


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ("alpaka", "no format; use one of prompt, messages"),
        ("kto", r"gives no preference rows.*preference: preference,"),
    ],
)
def test_declared_format_that_does_not_serve_is_refused(form: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        convert(rows_of({"prompt": "a"}), "preference", form=form)


CALL = {"id": "1", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "row",
    [
        {"messages": [user("a?"), {"role": "assistant", "content": None, "tool_calls": [CALL]}]},
        {"messages": [user("a?"), assistant("b")], "tools": [{"name": "f"}]},
        {"prompt": "a?", "completion": "b", "tools": '[{"name": "f"}]'},
        {"conversations": [TURNS[1], {"from": "function_call", "value": "{}"}]},
    ],
)
def test_tool_call_rows_are_refused_by_name(row: Any) -> None:
    with pytest.raises(UserError, match=r"made\.jsonl:1: .*tool-call rows are not trained on"):
        convert(rows_of(row), "sft")


URDU = "پاکستان کا دارالحکومت کیا ہے؟"
BENGALI = "৩ এবং ৪ এর যোগফল কত?"
AMHARIC = "የኢትዮጵያ ዋና ከተማ ማን ናት?"
CHINESE = "三加四等于多少？"


@pytest.mark.parametrize("text", [URDU, BENGALI, AMHARIC, CHINESE])
def test_every_script_comes_through_every_format_unchanged(text: str) -> None:
    for row in (
        {"instruction": text, "input": "", "output": "۷"},
        {"conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "۷"}]},
        {"messages": [user(text), assistant("۷")]},
        {"prompt": text, "completion": "۷"},
    ):
        assert to_sft([row]) == [{"prompt": [user(text)], "completion": [assistant("۷")]}]
    (gsm8k,) = to_prompts([{"question": text, "answer": "৩ + ৪ = ৭\n#### ৭"}])
    assert gsm8k == {"prompt": [user(text)], "answer": "৭"}
    (choice,) = to_prompts([{"question": text, "options": ["七", "八"], "answer": "七"}])
    assert choice["answer"] == "A"
    transcripts = {name: f"\n\nHuman: {text}\n\nAssistant: {end}" for name, end in (("chosen", "۷"), ("rejected", "۸"))}
    assert to_preference([transcripts])[0]["prompt"] == [user(text)]


@pytest.mark.parametrize("form", FORMATS.values(), ids=lambda form: form.name)
def test_docs_table_shows_every_format(form: Format) -> None:
    assert f"| `{form.name}` | {form.looks} | {form.becomes} | {', '.join(form.serves)} |" in DOCS.read_text()
