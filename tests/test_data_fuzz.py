"""Any rows at all: each is kept or dropped for a reason, or the source is refused; never a traceback, never a lost row.

Example runs are bounded and derandomised, so that the suite is the same every time.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.accounting import Rows
from data.errors import UserError
from data.files import SUFFIXES, file_rows
from data.formats import convert, prompt_texts
from data.formats.convert import PURPOSES
from data.formats.table import FORMATS
from data.row_checks import BadRow
from data.sources import load_rows
from tests.data_blocks import block
from training.identity import canonical_json

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
COLUMNS = sorted({column for form in FORMATS.values() for column in (*form.needs, *form.uses)} | {"id", "tools"})
ROLES = st.sampled_from(["system", "user", "assistant", "tool", "human", "gpt", "function_call", "", None, 3])
TEXTS = st.one_of(
    st.text(st.characters(codec=None), max_size=12),
    st.sampled_from(
        ["", " ", "a?", "\ud83d", "پاکستان", "৭", "true", "0", "#### 4", "\\boxed{4}", "\\boxed{", "A", "x\n\n#### "]
    ),
    st.sampled_from(["\n\nHuman: a?\n\nAssistant: b", "\n\nHuman: a?\n\nAssistant:", "Human:Assistant:"]),
)
NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none())
MESSAGES = st.lists(
    st.one_of(
        st.fixed_dictionaries({"role": ROLES, "content": st.one_of(TEXTS, st.none(), st.lists(TEXTS, max_size=1))}),
        st.fixed_dictionaries({"from": ROLES, "value": st.one_of(TEXTS, NUMBERS)}),
        st.none(),
    ),
    max_size=4,
)
CHOICES = st.one_of(
    st.lists(TEXTS, max_size=3), st.fixed_dictionaries({"text": st.lists(TEXTS, max_size=3), "label": MESSAGES})
)
VALUES = st.one_of(TEXTS, NUMBERS, MESSAGES, MESSAGES.filter(bool).map(lambda items: items[0]), CHOICES)
ROWS = st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUES, max_size=5), min_size=1, max_size=5)


@st.composite
def rows_of_a_format(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rows that have the columns of one format, so that recognition passes and parsers are reached."""
    columns = sorted(FORMATS[draw(st.sampled_from(sorted(FORMATS)))].needs)
    extra = st.sampled_from(["system", "input", "history", "tools", "label", "answer"])
    row = st.fixed_dictionaries(dict.fromkeys(columns, VALUES))
    more = st.dictionaries(extra, VALUES, max_size=2)
    return draw(st.lists(st.builds(lambda one, two: {**two, **one}, row, more), min_size=1, max_size=4))


def attempt(path: Path, purpose: str, form: str | None, share: float) -> Rows | None:
    """The rows of a file for a purpose, or None where the source is refused; anything else is a bug."""
    try:
        return convert(load_rows(block(path=str(path), max_bad_rows=share), 1), purpose, "System.", form)
    except UserError as error:
        str(error).encode()
        return None


def check(path: Path, rows: list[dict[str, Any]], purpose: str, form: str | None) -> None:
    path.write_text("\n".join(map(json.dumps, rows)))
    made = attempt(path, purpose, form, 1.0)
    strict = attempt(path, purpose, form, 0.0)
    if made is None:
        assert strict is None, "more is refused with a share of 0 than with one of 1"
        return
    assert made.rows_in == len(rows)
    assert sorted([*made.numbers, *(row.number for row in made.account.dropped)]) == list(range(len(rows)))
    assert len(made.rows) == len(made.numbers) == made.account.rows_kept
    assert (strict is None) == (made.account.num_bad > 0)
    canonical_json(made.rows).encode()
    prompt_texts(made.rows)
    for row in made.rows:
        assert row["prompt"][0] == {"role": "system", "content": "System."} or row["prompt"][0]["role"] == "system"
        for column in {"sft": ["completion"], "preference": ["chosen", "rejected"], "prompt": []}[purpose]:
            assert row[column][0]["role"] == row[column][-1]["role"] == "assistant"
    if strict is not None:
        assert strict.rows == made.rows


@SETTINGS
@given(rows=ROWS, purpose=st.sampled_from(sorted(PURPOSES)))
def test_any_rows_are_accounted_for(rows: list[dict[str, Any]], purpose: str, tmp_path: Path) -> None:
    check(tmp_path / "rows.jsonl", rows, purpose, None)


@SETTINGS
@given(rows=rows_of_a_format(), purpose=st.sampled_from(sorted(PURPOSES)), declare=st.booleans())
def test_rows_with_the_columns_of_a_format_are_accounted_for(
    rows: list[dict[str, Any]], purpose: str, declare: bool, tmp_path: Path
) -> None:
    forms = [None, *(name for name, form in FORMATS.items() if declare and set(form.needs) <= set(rows[0]))]
    for form in forms:
        check(tmp_path / "rows.jsonl", rows, purpose, form)


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".jsonl.gz", ".json.zst"])
@SETTINGS
@given(data=st.one_of(st.binary(max_size=60), st.text('[]{}",:\\u0d8\n\r \ufeff01eE-.', max_size=40).map(str.encode)))
def test_any_bytes_are_rows_bad_rows_or_a_user_error(suffix: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(data)
    try:
        for _, row in file_rows(path, path.name):
            assert isinstance(row, dict | BadRow)
    except UserError as error:
        str(error).encode()
