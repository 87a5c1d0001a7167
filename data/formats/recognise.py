"""Which format the rows of a source are in: told by their columns and the kinds of values in them, or refused.

A row's candidates are the formats that fit it and serve the purpose, less those that another candidate beats (it needs
all their columns and more). A source has the one format that is a candidate of every recognised row. Where several
are, they must mean the same examples; else the user declares one with `data.format`.
"""

from collections.abc import Callable, Sequence
from typing import Any

from data.errors import UserError
from data.formats.format import Format
from data.formats.shape import Shape, shape
from data.formats.table import FORMATS
from data.row_checks import BadRow

_PARTS = {
    "text": ("text",),
    "sft": ("prompt", "completion", "surplus"),
    "preference": ("prompt", "chosen", "rejected"),
    "prompt": ("prompt", "answer"),
}
"""What of an example a purpose uses."""
_EXAMPLE = "Map other names with data.columns, for example columns: {prompt: question}"


def declared(name: str, purpose: str) -> Format:
    """Return the format of this name; UserError if there is none or it does not serve the purpose."""
    if name not in FORMATS:
        raise UserError(f"data.format={name!r} is no format; use one of {', '.join(FORMATS)}")
    if purpose not in FORMATS[name].serves:
        serving = ", ".join(each.name for each in FORMATS.values() if purpose in each.serves)
        raise UserError(f"data.format={name} gives no {purpose} rows: {FORMATS[name].becomes}; {purpose}: {serving}")
    return FORMATS[name]


def recognise(rows: Sequence[dict[str, Any]], purpose: str, where: Callable[[int], str]) -> Format:
    """Return the format of `rows` for a purpose (text, sft, preference, prompt); `where` gives the place of rows[i].

    UserError if no row has one, if rows are of different formats, or if several fit that mean different examples.
    """
    known: dict[Shape, frozenset[str]] = {}
    first: dict[frozenset[str], int] = {}
    for index, row in enumerate(rows):
        found = shape(row)
        if found not in known:
            known[found] = candidates(found, purpose)
        first.setdefault(known[found], index)
    first.pop(frozenset(), None)
    if not first:
        return _nearest(rows, purpose)
    common = frozenset.intersection(*first)
    if not common:
        seen = [f"{where(index)} is {' or '.join(sorted(names))}" for names, index in first.items()]
        raise UserError(
            f"the rows are of different formats: {'; '.join(seen[:4])}. Split them into one source for each format, or "
            "declare one (data.format) and let max_bad_rows drop the others"
        )
    if len(common) > 1 and not _mean_the_same([FORMATS[name] for name in common], rows, purpose):
        index = min(first.values())
        raise UserError(
            f"{where(index)} fits several formats: "
            + "; ".join(f"{name} ({FORMATS[name].becomes})" for name in sorted(common))
            + ". Declare one with data.format"
        )
    return FORMATS[min(common, key=list(FORMATS).index)]


def candidates(found: Shape, purpose: str | None) -> frozenset[str]:
    """Return the names of the formats that a row of this shape may be in; None asks for any purpose."""
    serving = [each for each in FORMATS.values() if purpose is None or purpose in each.serves]
    fitting = [each for each in serving if each.fits(found)]
    beaten = {other.name for each in fitting for other in fitting if each.beats(other, found)}
    return frozenset(each.name for each in fitting if each.name not in beaten)


def _nearest(rows: Sequence[dict[str, Any]], purpose: str) -> Format:
    """The format whose columns are all there, though with values of the wrong kind: its parser says which."""
    found = {column for row in rows for column, value in row.items() if value is not None}
    serving = [each for each in FORMATS.values() if purpose in each.serves]
    present = [each for each in serving if set(each.needs) <= found]
    if present:
        return max(present, key=lambda each: len(each.needs))
    elsewhere = sorted(candidates(shape(rows[0]), None))
    hint = "".join(f" These look like {name} rows: {FORMATS[name].becomes}." for name in elsewhere[:1])
    needed = list(dict.fromkeys("+".join(each.needs) for each in serving))
    raise UserError(
        f"{purpose} rows need the columns {' or '.join(needed[:5])} (docs/data.md has every format); "
        f"found: {', '.join(sorted(found)) or 'none'}.{hint} {_EXAMPLE}"
    )


def _mean_the_same(formats: list[Format], rows: Sequence[dict[str, Any]], purpose: str) -> bool:
    for row in rows:
        meant = [_meant(each, row, purpose) for each in formats]
        if any(other != meant[0] for other in meant):
            return False
    return True


def _meant(each: Format, row: dict[str, Any], purpose: str) -> list[Any] | None:
    try:
        example = each.parse(row)
    except BadRow:
        return None
    return [getattr(example, part) for part in _PARTS[purpose]]
