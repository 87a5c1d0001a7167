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
from data.formats.format import Format
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


USER, ASSISTANT = {"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}
HUMAN, GPT = {"from": "human", "value": "a?"}, {"from": "gpt", "value": "b"}
OF_KIND: dict[str, list[Any]] = {
    "text": ["a?", "پاکستان", "৭", "A"],
    "truth text": ["true", "0"],
    "transcript": ["\n\nHuman: a?\n\nAssistant: b", "\n\nHuman: a?\n\nAssistant: c"],
    "open transcript": ["\n\nHuman: a?\n\nAssistant:"],
    "gsm8k answer": ["2 + 2\n#### 4", "#### ৭"],
    "boxed": ["so \\boxed{4}", "\\boxed{\\frac{1}{2}}", "\\boxed{"],
    "messages": [[USER], [USER, ASSISTANT], [ASSISTANT]],
    "turns": [[HUMAN], [HUMAN, GPT]],
    "message": [ASSISTANT],
    "turn": [GPT],
    "truth": [True, False],
    "truth number": [0, 1],
    "number": [2, 7.5],
    "texts": [["A", "a?"], ["x", "y", "z"]],
    "choices": [{"text": ["a?", "৭"], "label": ["A", "B"]}],
}


@st.composite
def rows_of_a_format(draw: st.DrawFn, form: Format) -> list[dict[str, Any]]:
    """Rows that have the columns of one format, mostly with fitting values, so that its parser is reached."""
    extra = st.sampled_from(["system", "input", "history", "tools", "label", "answer"])
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        row = draw(st.dictionaries(extra, VALUES, max_size=1)) if draw(st.integers(0, 3)) == 0 else {}
        for column, kinds in sorted(form.needs.items()):
            fitting = [value for kind in sorted(kinds) for value in OF_KIND[kind]]
            row[column] = draw(VALUES if draw(st.integers(0, 9)) == 0 else st.sampled_from(fitting))
        rows.append(row)
    return rows


def attempt(path: Path, purpose: str, form: str | None, share: float) -> Rows | None:
    """The rows of a file for a purpose, or None where the source is refused; anything else is a bug."""
    try:
        return convert(load_rows(block(path=str(path), max_bad_rows=share), 1), purpose, "System.", form)
    except UserError as error:
        str(error).encode()
        return None


def check(path: Path, rows: list[dict[str, Any]], purpose: str, form: str | None) -> Rows | None:
    path.write_text("\n".join(map(json.dumps, rows)))
    made = attempt(path, purpose, form, 1.0)
    strict = attempt(path, purpose, form, 0.0)
    if made is None:
        assert strict is None, "more is refused with a share of 1 than with one of 0"
        return None
    assert made.rows_in == len(rows)
    assert sorted([*made.numbers, *(row.number for row in made.account.dropped)]) == list(range(len(rows)))
    assert len(made.rows) == len(made.numbers) == made.account.rows_kept
    assert (strict is None) == (made.account.num_bad > 0)
    canonical_json(made.rows).encode()
    prompt_texts(made.rows)
    for row in made.rows:
        if purpose == "text":
            assert row["text"].strip()
            continue
        assert row["prompt"][0]["role"] == "system"
        for column in {"sft": ["completion"], "preference": ["chosen", "rejected"], "prompt": []}[purpose]:
            assert row[column][0]["role"] == row[column][-1]["role"] == "assistant"
    if strict is not None:
        assert strict.rows == made.rows
    return made


@SETTINGS
@given(rows=ROWS, purpose=st.sampled_from(sorted(PURPOSES)))
def test_any_rows_are_accounted_for(rows: list[dict[str, Any]], purpose: str, tmp_path: Path) -> None:
    check(tmp_path / "rows.jsonl", rows, purpose, None)


@pytest.mark.parametrize("name", FORMATS)
def test_rows_with_the_columns_of_a_format_are_accounted_for(name: str, tmp_path: Path) -> None:
    """Recognised and declared. The format must have kept rows of some example: else the test would prove little."""
    kept = 0

    @settings(SETTINGS, max_examples=30)
    @given(rows=rows_of_a_format(FORMATS[name]), purpose=st.sampled_from(FORMATS[name].serves))
    def run(rows: list[dict[str, Any]], purpose: str) -> None:
        nonlocal kept
        check(tmp_path / "rows.jsonl", rows, purpose, None)
        declared = check(tmp_path / "rows.jsonl", rows, purpose, name)
        kept += 0 if declared is None else len(declared.rows)

    run()
    assert kept > 0


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
