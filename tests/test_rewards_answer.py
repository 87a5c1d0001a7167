"""Properties of the answer reward over many seeded inputs, and the votes it counts."""

import random
import time

from training.rewards.answer import extract, is_right
from training.rewards.number_text import find_numbers, plain_digits, whole_number

SCRIPTS = (
    "0123456789",
    "٠١٢٣٤٥٦٧٨٩",
    "۰۱۲۳۴۵۶۷۸۹",
    "০১২৩৪৫৬৭৮৯",
    "०१२३४५६७८९",
    "０１２３４５６７８９",
    "๐๑๒๓๔๕๖๗๘๙",
    "𝟎𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗",
)
SENTENCES = ("<answer>{}</answer>", "The answer is {}.", "so\n\n**{}**", "\\boxed{{{}}}", "= {}", "{}", "<answer> {} ")


def written(value: int, rng: random.Random) -> str:
    text = f"{value:,}" if rng.random() < 0.5 else str(value)
    return text.translate(str.maketrans("0123456789", rng.choice(SCRIPTS)))


def test_is_right_any_integer_in_any_script_and_sentence_is_found() -> None:
    rng = random.Random(1)
    for _ in range(2000):
        value = rng.randint(-(10 ** rng.randint(1, 12)), 10 ** rng.randint(1, 12))
        completion = rng.choice(SENTENCES).format(written(value, rng))
        assert is_right(completion, str(value)), completion
        assert not is_right(completion, str(value + 1)), completion
        assert not is_right(completion, str(value * 10 + 1)), completion


def test_is_right_equal_decimals_and_fractions_are_equal() -> None:
    rng = random.Random(2)
    for _ in range(500):
        hundredths = rng.randint(-99999, 99999)
        decimal = f"{'-' if hundredths < 0 else ''}{abs(hundredths) // 100}.{abs(hundredths) % 100:02d}"
        assert is_right(f"<answer>{decimal}000</answer>", decimal)
        assert is_right(f"It is {decimal}.", decimal)
        assert not is_right(f"<answer>{decimal}1</answer>", decimal)


def test_is_right_random_text_never_raises_and_is_quick() -> None:
    """What a model may write, glued from pieces that the extractor reacts to."""
    rng = random.Random(3)
    pieces = [
        "<answer>",
        "</answer>",
        "<think>",
        "</think>",
        "\\boxed{",
        "}",
        "{",
        "\\frac{1}{",
        "$",
        "7",
        "٧",
        " or ",
        "-",
        ",",
    ]
    pieces += ["[", "]", "'", "1e9", "/", ".", "=", "\n", "²", "\u202e", "x", "^", "is ", "None", "\x00", "9" * 500]
    began = time.perf_counter()
    for _ in range(500):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(0, 120)))
        for expected in ("7", "['1', '2']", "Tuesday", "x + 1", "1/2"):
            assert is_right(text, expected, "What is the prompt of this one?") in (True, False)
    assert time.perf_counter() - began < 30


def test_is_right_hostile_lengths_cost_linear_time() -> None:
    for piece in (
        "9",
        "<answer>",
        "</answer>",
        "\\boxed{",
        "<think>",
        "<think></think>",
        "1,",
        "1/",
        "- ",
        "[",
        "(",
        "is ",
        "a ",
    ):
        text = piece * (60_000 // len(piece))
        began = time.perf_counter()
        for expected in ("7", "['1', '2']", "word", "x+1"):
            is_right(text, expected)
        assert time.perf_counter() - began < 20, piece


def test_extract_equal_values_are_one_vote() -> None:
    spellings = ("<answer>8</answer>", "it is 8.0", "\\boxed{8}", "<answer>٨</answer>", "16/2 = 8")
    assert {extract(completion, "7") for completion in spellings} == {"8"}
    assert extract("<answer>7.0</answer>", "7") == extract("it is 7", "7") != extract("it is 8", "7")


def test_extract_without_an_answer_is_none() -> None:
    assert extract("I do not know", "7") is None
    assert extract("<think>7</think>", "7") is None


def test_plain_digits_keeps_superscripts() -> None:
    assert plain_digits("٣² = 9") == "3² = 9"


def test_find_numbers_reads_signs_by_what_stands_before() -> None:
    def values(text: str) -> list[str]:
        return [str(number.value) for number in find_numbers(text)]

    assert values("5-3, -4 and (-2) = -1/2") == ["5", "3", "-4", "-2", "-1/2"]
    assert values("10 - 3") == ["10", "3"]
    assert values("v1.2 x3 .5 7.") == ["1/2", "7"]


def test_whole_number_refuses_what_is_more_than_a_number() -> None:
    assert whole_number("7 legs") is None
    assert whole_number("1,23") is None
    assert str(whole_number("-$1,234.50").value) == "-2469/2"  # type: ignore[union-attr]
