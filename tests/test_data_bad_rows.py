"""Rows that cannot be used: each kind is handled or refused by name with its place, and dropped only with a count."""

import gzip
import json
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from data.accounting import DROPPED_ROWS, Rows, write_dropped
from data.errors import UserError
from data.files import file_rows, read_rows
from data.formats import convert
from data.row_checks import BadRow
from data.sources import load_rows
from tests.data_blocks import block

GOOD = '{"prompt": "2 + 3 =", "completion": "5"}'
A, B = {"role": "user", "content": "a?"}, {"role": "assistant", "content": "b"}


def sft(path: Path, **fields: Any) -> Rows:
    data = block(path=str(path), **fields)
    return convert(load_rows(data, 1), "sft", form=data.format)


def chat(*messages: Any) -> str:
    return json.dumps({"messages": list(messages)})


BAD_LINES: dict[str, tuple[str | bytes, str, str]] = {
    "cut": ('{"prompt": "x", "compl', "not_json", "Unterminated string"),
    "list": ("[1, 2]", "not_an_object", "a list; every line must be one JSON object"),
    "not utf-8": ('{"prompt": "é", "completion": "x"}'.encode("latin-1"), "not_utf8", "byte 0xe9 at position 12"),
    "nan": ('{"prompt": "x", "completion": "y", "score": NaN}', "not_a_number", "score holds nan"),
    "infinity in a list": ('{"prompt": "x", "completion": "y", "s": [1e999]}', "not_a_number", "s holds inf"),
    "lone surrogate": ('{"prompt": "x \\ud83d", "completion": "y"}', "lone_surrogate", r"holds U\+D83D at character 2"),
    "lone surrogate in a name": ('{"prompt": "x", "completion": "y", "\\ud83d": 1}', "lone_surrogate", "column name"),
    "deep": ('{"prompt": "x", "completion": "y", "s": ' + "[" * 70 + "]" * 70 + "}", "too_deep", "more than 64 levels"),
    "deeper": ("[" * 200_000, "too_deep", "nested too deep"),
    "long number": ('{"prompt": "x", "completion": "y", "n": ' + "1" * 5000 + "}", "not_json", "4300 digits"),
    "empty object": ("{}", "missing", "prompt is missing"),
    "null": ('{"prompt": null, "completion": "y"}', "missing", "prompt is missing"),
    "empty text": ('{"prompt": "", "completion": "y"}', "empty", "prompt is empty"),
    "blank text": ('{"prompt": "x", "completion": " \\n"}', "empty", "completion is empty"),
    "number": ('{"prompt": "x", "completion": 5}', "wrong_kind", "completion is a number"),
    "wrong role": (
        '{"prompt": [{"role": "human", "content": "x"}], "completion": "y"}',
        "wrong_role",
        "role 'human'; use system, user",
    ),
    "role of no kind": (
        '{"prompt": [{"role": ["user"], "content": "x"}], "completion": "y"}',
        "wrong_role",
        r"role \['user'\]",
    ),
    "null content": (
        '{"prompt": [{"role": "user", "content": null}], "completion": "y"}',
        "wrong_kind",
        r"prompt\[0\]: the content is null",
    ),
    "null message": (
        '{"prompt": [{"role": "user", "content": "x"}, null], "completion": "y"}',
        "wrong_kind",
        r"prompt\[1\] is None",
    ),
}


@pytest.mark.parametrize("name", BAD_LINES)
def test_bad_line_is_named_with_file_and_line_or_dropped_with_a_count(name: str, tmp_path: Path) -> None:
    line, reason, message = BAD_LINES[name]
    path = tmp_path / "rows.jsonl"
    encoded = line if isinstance(line, bytes) else line.encode()
    path.write_bytes(b"\n".join([GOOD.encode(), b"", encoded, GOOD.encode()]))
    with pytest.raises(UserError, match=rf"rows\.jsonl:3: .*{message}"):
        sft(path)
    made = sft(path, max_bad_rows=0.5)
    assert (made.rows_in, made.numbers, made.account.counts()) == (3, [0, 2], {reason: 1})


TURNS = {
    "two user turns": ([A, A, B], "consecutive_turns", r"messages\[0\] and \[1\] are both the user's"),
    "two answers": ([A, B, B], "consecutive_turns", r"\[1\] and \[2\] are both the assistant's"),
    "assistant first": ([B, A, B], "wrong_order", "a user speaks first"),
    "system later": ([A, {"role": "system", "content": "s"}, A, B], "wrong_order", "only the first message"),
    "no answer": ([A], "no_completion", "there is no answer to train on"),
    "tool after user": (
        [A, {"role": "tool", "content": "4"}, B],
        "wrong_order",
        "is the tool's and follows the user's",
    ),
    "parts": ([{"role": "user", "content": [{"type": "text", "text": "x"}]}, B], "wrong_kind", "content is a list"),
}


@pytest.mark.parametrize("name", TURNS)
def test_wrong_conversation_is_refused_by_name(name: str, tmp_path: Path) -> None:
    messages, reason, message = TURNS[name]
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{chat(A, B)}\n{chat(*messages)}\n")
    with pytest.raises(UserError, match=rf"rows\.jsonl:2: .*{message}"):
        sft(path)
    assert sft(path, max_bad_rows=0.5).account.counts() == {reason: 1}


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_byte_order_mark_and_windows_line_ends_are_no_part_of_a_row(suffix: str, tmp_path: Path) -> None:
    texts = {".jsonl": f"{GOOD}\r\n{GOOD}\r\n", ".json": f"[{GOOD},\r\n{GOOD}]\r\n", ".csv": "a,b\r\n1,x\r\n2,y\r\n"}
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(b"\xef\xbb\xbf" + texts[suffix].encode())
    expected = [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}] if suffix == ".csv" else [json.loads(GOOD)] * 2
    assert read_rows(path) == expected


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv"])
def test_utf16_is_refused_by_name(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_text(GOOD, encoding="utf-16")
    with pytest.raises(UserError, match="UTF-16 text; save it as UTF-8"):
        read_rows(path)


def zstd(data: bytes) -> bytes:
    return pyarrow.Codec("zstd").compress(data, asbytes=True)


@pytest.mark.parametrize(("suffix", "compress"), [(".gz", gzip.compress), (".zst", zstd)])
@pytest.mark.parametrize("kind", [".jsonl", ".json", ".csv"])
def test_compressed_file_is_read_and_a_cut_one_refused(suffix: str, compress: Any, kind: str, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"{n} {n * 7919 % 1000}"}) for n in range(5000)]
    text = {".jsonl": "\n".join(lines), ".json": f"[{','.join(lines)}]", ".csv": "prompt\n" + "\n".join("abc")}[kind]
    path = tmp_path / f"rows{kind}{suffix}"
    data = compress(text.encode())
    path.write_bytes(data)
    assert len(read_rows(path)) == (3 if kind == ".csv" else 5000)
    for cut in (len(data) - 4, len(data) // 2, 9):
        path.write_bytes(data[:cut])
        with pytest.raises(UserError, match=rf"cut or broken {suffix} data"):
            read_rows(path)
    path.write_bytes(b"plain text, not compressed")
    with pytest.raises(UserError, match=rf"cut or broken {suffix} data"):
        read_rows(path)


def test_cut_parquet_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    parquet.write_table(pyarrow.Table.from_pylist([{"prompt": "x" * n} for n in range(900)]), path)
    assert len(read_rows(path)) == 900
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match="is not a readable Parquet file"):
        read_rows(path)


def test_parquet_values_that_are_no_json_are_dates_or_refused(tmp_path: Path) -> None:
    from datetime import date
    from decimal import Decimal

    path = tmp_path / "rows.parquet"
    rows = [{"prompt": "x", "completion": "y", "day": date(2026, 1, 2), "price": Decimal("1.50"), "image": None}] * 2
    table = pyarrow.Table.from_pylist([*rows, {**rows[0], "image": b"\x89"}])
    parquet.write_table(table, path)
    with pytest.raises(UserError, match=r"rows\.parquet row 2: image holds a bytes"):
        load_rows(block(path=str(path)), 1)
    loaded = load_rows(block(path=str(path), max_bad_rows=0.5), 1)
    assert loaded.rows[0] == {"prompt": "x", "completion": "y", "day": "2026-01-02", "price": "1.50", "image": None}


def test_parquet_text_that_is_not_utf8_is_one_bad_row(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    binary = pyarrow.array([b"good", b"\xff\xfe", b"fine"], pyarrow.binary())
    text = pyarrow.Array.from_buffers(pyarrow.string(), 3, binary.buffers())
    parquet.write_table(pyarrow.table({"prompt": text}), path)
    loaded = load_rows(block(path=str(path), max_bad_rows=0.5), 1)
    assert (loaded.numbers, loaded.account.counts()) == ([0, 2], {"not_plain": 1})


CSV = {
    "too few": ("x", "1 fields, not the header's 2"),
    "too many": ("x,y,z", "3 fields, not the header's 2"),
    "quote": ('"x"y,z', "check the quotes"),
    "not utf-8": (b"\xe9,z", "not UTF-8"),
}


@pytest.mark.parametrize("name", CSV)
def test_bad_csv_row_is_named_and_the_next_one_read(name: str, tmp_path: Path) -> None:
    line, message = CSV[name]
    path = tmp_path / "rows.csv"
    path.write_bytes(
        b'prompt,completion\n"a\nb",c\n' + (line if isinstance(line, bytes) else line.encode()) + b"\nd,e\n"
    )
    with pytest.raises(UserError, match=rf"rows\.csv:4: .*{message}"):
        sft(path)
    made = sft(path, max_bad_rows=0.5)
    assert [row["prompt"][0]["content"] for row in made.rows] == ["a\nb", "d"]
    assert made.rows_in == 3


def test_row_of_ten_megabytes_is_read_from_every_kind_of_file(tmp_path: Path) -> None:
    long = "word " * 2_000_000
    row = {"prompt": long, "completion": "y"}
    (tmp_path / "a.jsonl").write_text(json.dumps(row))
    (tmp_path / "a.json").write_text(json.dumps([row, row]))
    (tmp_path / "a.csv").write_text(f"prompt,completion\n{long},y\n")
    for path in tmp_path.iterdir():
        assert read_rows(path)[-1] == row


def test_json_list_is_read_in_parts_with_the_line_of_each_element(tmp_path: Path) -> None:
    """The window is 1 MiB: elements, numbers and two-byte characters lie across its ends."""
    rows = [{"n": n, "text": "é۷七" * (n % 700)} for n in range(4000)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows, indent=1, ensure_ascii=False))
    lines, read = zip(*file_rows(path, "rows.json"), strict=True)
    assert list(read) == rows
    assert lines[:3] == (2, 6, 10)
    path.write_text("[" + ",".join(map(str, range(10**11, 10**11 + 100_000))) + "]")
    assert sum(isinstance(row, BadRow) for _, row in file_rows(path, "rows.json")) == 100_000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"a": 1},\n{"a": 2}\n{"a": 3}]', r"rows\.json:3: Expecting ',' or '\]'"),
        ('[{"a": 1},\n{"a": 2', r"rows\.json:2: Expecting ',' delimiter"),
        ('[{"a": 1}]\n[2]', r"rows\.json:2: Extra data"),
        ('[{"a": 1},\n]', r"rows\.json:2: Expecting value"),
        ("\n[{'a': 1}]", r"rows\.json:2: Expecting property name"),
        ('[{"a": 1}', "Expecting ',' or"),
        ("", "holds nothing"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_broken_json_list_is_refused_with_its_line(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        load_rows(block(path=str(path), max_bad_rows=1.0), 1)


def first_bad(path: Path) -> None:
    for line, row in file_rows(path, path.name):
        if isinstance(row, BadRow):
            raise UserError(f"{path.name}:{line}: {row.detail}")


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".jsonl.gz"])
def test_large_file_with_one_broken_line_is_read_in_constant_memory(suffix: str, tmp_path: Path) -> None:
    """16 MB of rows of which the last is broken: the reader holds a window of 1 MiB, not the file."""
    path = tmp_path / f"rows{suffix}"
    row = json.dumps({"prompt": "p" * 900, "completion": "c"})
    good = {".csv": f'"{"p" * 900}",yy\n', ".json": f"{row},\n"}.get(suffix, f"{row}\n")
    text = {".json": "[", ".csv": "prompt,completion\n"}.get(suffix, "") + good * 17_000 + '{"prompt": broken'
    path.write_bytes(gzip.compress(text.encode(), 1) if suffix.endswith(".gz") else text.encode())
    del text
    tracemalloc.start()
    with pytest.raises(UserError, match=r"rows\.[a-z.]+:1700[12]"):
        first_bad(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 6e6


def test_dropped_rows_are_listed_with_place_reason_and_detail(tmp_path: Path) -> None:
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(f'{GOOD}\n{{"prompt": "\\ud83d"}}\n\n{{"prompt": "x"}}\n')
    made = sft(tmp_path, max_bad_rows=0.7)
    assert (made.rows_in, len(made.rows), made.account.rows_kept) == (6, 2, 2)
    written = tmp_path.parent / f"{tmp_path.name}-{DROPPED_ROWS}"
    assert write_dropped(written, [made.account]) == 4
    lines = [json.loads(line) for line in written.read_text().splitlines()]
    places = [(line["row"], Path(line["where"]).name, line["reason"]) for line in lines]
    assert places == [
        (1, "a.jsonl:2", "lone_surrogate"),
        (4, "b.jsonl:2", "lone_surrogate"),
        (2, "a.jsonl:4", "missing"),
        (5, "b.jsonl:4", "missing"),
    ]
    with pytest.raises(UserError, match=r"4 of 6 rows are bad.*max_bad_rows=0\.5 admits.*the first is .*a\.jsonl:2"):
        sft(tmp_path, max_bad_rows=0.5)
