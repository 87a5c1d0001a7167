"""Suite items: the same every time, none that a stage trains on, none twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from data.formats import prompt_texts
from data.suites import suite_items
from tests.data_blocks import generator, suite

SMALL: dict[str, dict[str, Any]] = {"chain_sum": {"max_terms": 2, "max_digits": 1}}


def test_suite_items_same_seed_same_items_other_seed_others() -> None:
    families: dict[str, dict[str, Any]] = {"chain_sum": {}, "gcd": {}}
    first, again, other = (
        suite_items("s", suite(20, generator=generator(families)), seed, set())[0] for seed in (1, 1, 2)
    )
    assert first == again
    assert not {item["prompt"] for item in first} & {item["prompt"] for item in other}
    assert [item["item"] for item in first[:4]] == ["chain_sum/0", "gcd/0", "chain_sum/1", "gcd/1"]


def test_suite_items_training_prompts_are_replaced_by_the_next_and_counted() -> None:
    measured = suite(20, generator=generator({"gcd": {}}))
    plain, _ = suite_items("s", measured, 1, set())
    trained = prompt_texts([{"prompt": f"  {item['prompt']}\n"} for item in plain[3:8]])
    items, replaced = suite_items("s", measured, 1, trained)
    assert replaced == 5
    assert items[:3] == plain[:3]
    assert [item["item"] for item in items[3:]] == [f"gcd/{number}" for number in range(8, 25)]


def test_suite_items_are_different_questions_and_repeats_are_not_counted() -> None:
    items, replaced = suite_items("s", suite(100, generator=generator(SMALL)), 1, set())
    assert len({item["prompt"] for item in items}) == 100
    assert replaced == 0


def test_suite_items_used_up_family_is_named() -> None:
    """Two terms of one digit and a sign: at most 200 questions."""
    with pytest.raises(UserError, match=r"suites\.s\.items=300: the data \(chain_sum\) gave \d+ different"):
        suite_items("s", suite(300, generator=generator(SMALL)), 1, set())


def test_suite_items_of_a_file_are_its_rows_in_order(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows: list[dict[str, Any]] = [{"prompt": f"{n} + 1 =", "answer": n + 1} for n in range(6)]
    rows[2]["prompt"] = [{"role": "user", "content": "2 + 1 ="}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    items, replaced = suite_items("s", suite(4, path=str(path)), 1, {"1 + 1 ="})
    assert [(item["item"], item["prompt"], item["answer"]) for item in items] == [
        (f"row/{n}", f"{n} + 1 =", str(n + 1)) for n in (0, 2, 3, 4)
    ]
    assert replaced == 1
    with pytest.raises(UserError, match=r"items=7: the data gave 6 different"):
        suite_items("s", suite(7, path=str(path)), 1, set())


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"prompt": "x"}, "row 0 has no answer; found the columns prompt"),
        ({"prompt": "x", "answer": " "}, "row 0 has no answer"),
        ({"query": "x", "answer": "5"}, r"suites\.s\.data: prompt rows need the columns"),
        ({"prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "x"}], "answer": "5"}, "one user"),
    ],
)
def test_suite_items_rows_that_cannot_be_asked_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps(row))
    with pytest.raises(UserError, match=message):
        suite_items("s", suite(1, path=str(tmp_path / "rows.jsonl")), 1, set())
