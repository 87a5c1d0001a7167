"""Generated tasks: the same for the same seed, equal shares, and worked answers that end in the right one."""

import itertools
import re
from typing import Any

import pytest

from data.errors import UserError
from data.generators import VIRTUAL_SIZE, check_families, entries, instances
from data.worked import WORKED, worked_answer
from training.rewards import REWARDS

# basic_arithmetic searches divisors of its intermediate values one by one, which takes hours with its default sizes.
SETTINGS: dict[str, list[dict[str, Any]]] = {family: [{}] for family in WORKED} | {
    "basic_arithmetic": [
        {"max_terms": 2, "max_digits": 1},
        {"max_terms": 4, "max_digits": 2},
        {"max_terms": 4, "max_digits": 2, "allow_parentheses": False, "operators": ["+", "-", "*"]},
    ],
    "chain_sum": [{}, {"max_terms": 2, "max_digits": 2}, {"allow_negation": True}],
    "products": [{}, {"max_digits": 2}, {"allow_negation": True, "max_terms": 4}],
    "gcd": [{}, {"max_numbers": 4}],
    "lcm": [{}, {"max_numbers": 3, "max_value": 30}],
    "letter_counting": [{}, {"min_words": 1, "max_words": 2}],
    "simple_equations": [
        {},
        {"max_terms": 2, "max_value": 10},
        {"operators": ["+", "-"], "operators_weights": [0.5, 0.5]},
    ],
}
CASES = [(family, parameters) for family, settings in SETTINGS.items() for parameters in settings]


@pytest.mark.parametrize(("family", "parameters"), CASES)
def test_worked_answer_earns_the_answer_and_the_format_reward(family: str, parameters: dict[str, Any]) -> None:
    for seed in range(4):
        for _, entry in itertools.islice(entries(family, parameters, seed), 60):
            text = worked_answer(family, entry["question"], entry["answer"], entry["metadata"])
            for strict in (True, False):
                found = REWARDS["answer"].function([text], [entry["question"]], answer=[entry["answer"]], strict=strict)
                assert found == [1.0], (entry, text)
            assert REWARDS["format"].function([text], [entry["question"]]) == [1.0]


@pytest.mark.parametrize("family", ["chain_sum", "products", "gcd", "leg_counting", "decimal_chain_sum"])
def test_worked_answer_every_line_of_arithmetic_is_true(family: str) -> None:
    """Each `left = right` line is computed anew, "mod" as Python's %."""
    for _, entry in itertools.islice(entries(family, {}, 3), 60):
        lines = worked_answer(family, entry["question"], entry["answer"], entry["metadata"]).splitlines()[:-1]
        for line in lines:
            found = re.fullmatch(r"(?:[a-z ]+: )?(.+) = (-?[\d.]+)(?:, \d+)?", line)
            assert found, line
            value = eval(found[1].replace("mod", "%"), {"__builtins__": {}})
            assert value == pytest.approx(float(found[2])), line


def test_worked_answer_is_short_for_easy_questions() -> None:
    """What the quickstart trains on: at most 60 characters a row for two terms of two digits."""
    rows = instances({"chain_sum": {"max_terms": 2, "max_digits": 2}}, 100, 1, "worked")
    assert max(len(row["completion"]) for row in rows) <= 60


def test_worked_answer_by_hand() -> None:
    def worked(family: str, answer: str, **metadata: Any) -> list[str]:
        return worked_answer(family, "question", answer, metadata).splitlines()

    assert worked("chain_sum", "74", expression="57 + 87 - 70") == [
        "57 + 87 = 144",
        "144 - 70 = 74",
        "<answer>74</answer>",
    ]
    assert worked("gcd", "3", numbers=[21, 69]) == [
        "69 mod 21 = 6",
        "21 mod 6 = 3",
        "6 mod 3 = 0",
        "<answer>3</answer>",
    ]
    assert worked("products", "7790", expression="205 * 38") == [
        "205 * 30 = 6150",
        "205 * 8 = 1640",
        "6150 + 1640 = 7790",
        "<answer>7790</answer>",
    ]
    assert worked("letter_counting", "3", span=["Eel", "me"], target_letter="e") == [
        "e e l: 2",
        "m e: 3",
        "<answer>3</answer>",
    ]
    assert worked("basic_arithmetic", "-61", expression="( 56 + -33 ) - 84") == [
        "56 + -33 = 23",
        "23 - 84 = -61",
        "<answer>-61</answer>",
    ]
    assert worked("simple_equations", "71", equation="20*h + 65 = 1485", variable="h") == [
        "20*h = 1485 - 65 = 1420",
        "h = 1420 / 20 = 71",
        "<answer>71</answer>",
    ]


def test_worked_answer_that_misses_the_answer_is_caught() -> None:
    with pytest.raises(AssertionError, match="end in 5, the answer is 6"):
        worked_answer("chain_sum", "2 + 3", "6", {"expression": "2 + 3"})


def test_worked_answer_unknown_family_is_the_tagged_answer() -> None:
    assert worked_answer("number_sorting", "question", "['1', '2']", {}) == "<answer>['1', '2']</answer>"


def test_instances_same_seed_same_rows_other_seed_other_rows() -> None:
    families = {"chain_sum": {}, "gcd": {}}
    first, again, other = (instances(families, 40, seed) for seed in (5, 5, 6))
    assert first == again
    assert not {row["prompt"] for row in first} & {row["prompt"] for row in other}


def test_instances_more_rows_begin_with_the_same_ones() -> None:
    families = {"chain_sum": {}, "gcd": {}}
    assert instances(families, 30, 5)[:20] == instances(families, 20, 5)


def test_instances_families_are_interleaved_in_equal_shares() -> None:
    rows = instances({"chain_sum": {}, "gcd": {}, "lcm": {}}, 8, 5)
    assert [row["family"] for row in rows] == ["chain_sum", "gcd", "lcm"] * 2 + ["chain_sum", "gcd"]


def test_instances_a_family_does_not_depend_on_its_company() -> None:
    alone = instances({"gcd": {}}, 10, 5)
    together = instances({"chain_sum": {}, "gcd": {}}, 20, 5)
    assert [row for row in together if row["family"] == "gcd"] == alone


@pytest.mark.parametrize(
    "parameters", [{"max_terms": 6, "max_digits": 1}, {"max_terms": 3, "allow_parentheses": False}]
)
def test_instances_wrong_answers_of_basic_arithmetic_are_passed_over(parameters: dict[str, Any]) -> None:
    """reasoning-gym's own answers to these: floored quotients with parentheses, no precedence without."""
    for row in instances({"basic_arithmetic": {"max_digits": 1, **parameters}}, 400, 1):
        expression = re.search(r"[-(\d].*\d[ )]*", row["prompt"])
        assert expression
        assert eval(expression[0], {"__builtins__": {}}) == int(row["answer"]), row


def test_instances_completions_bare_and_none() -> None:
    assert "completion" not in instances({"gcd": {}}, 1, 5)[0]
    row = instances({"gcd": {}}, 1, 5, "bare")[0]
    assert row["completion"] == f"<answer>{row['answer']}</answer>"


def test_entries_go_on_beyond_one_block() -> None:
    indices = [index for index, _ in itertools.islice(entries("gcd", {}, 5), VIRTUAL_SIZE + 2)]
    assert indices == list(range(VIRTUAL_SIZE + 2))


@pytest.mark.parametrize(
    ("families", "message"),
    [
        ({"chain_sums": {}}, "the nearest are chain_sum"),
        ({"chain_sum": {"max_term": 3}}, "max_term is not a parameter.*max_terms"),
        ({"chain_sum": {"seed": 3}}, "seed is not a parameter"),
        ({"chain_sum": {"min_terms": 5, "max_terms": 2}}, "max_terms must be >= min_terms"),
        ({"chain_sum": {"max_terms": "two"}}, "is not accepted"),
        ({"basic_arithmetic": {}}, "hours an item; keep it at 12"),
        ({"propositional_logic": {}}, "no answer text"),
        ({"time_intervals": {}}, "today's date"),
    ],
)
def test_check_families_mistakes_are_named(families: dict[str, dict[str, Any]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_families(families)


def test_instances_bad_requests_are_refused() -> None:
    with pytest.raises(UserError, match="families is empty"):
        instances({}, 5, 1)
    with pytest.raises(UserError, match="rows=0"):
        instances({"gcd": {}}, 0, 1)
    with pytest.raises(UserError, match="worked or bare"):
        instances({"gcd": {}}, 1, 1, "long")
