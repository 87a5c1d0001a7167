"""The terminal table of generalisation: printed below that of the suites."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from data.generalisation import PARTS
from training.generalisation_view import GeneralisationRow

if TYPE_CHECKING:
    from rich.table import Table


def generalisation_table(rows: Sequence[GeneralisationRow], terminal: bool) -> "Table":
    """One line a model: accuracy by part, memorisation gap and transfer to unseen families with 95 % intervals."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAVY if terminal else box.ASCII2, pad_edge=False)
    table.add_column("generalisation\naccuracy %", no_wrap=True)
    for part in PARTS:
        counts = sorted({found["n"] for row in rows if (found := row.parts[part])})
        table.add_column(f"{part}\nn={', '.join(map(str, counts)) or 0}", no_wrap=True, justify="right")
    table.add_column("memorisation gap\ntrained - fresh", no_wrap=True, justify="right")
    table.add_column("transfer to unseen\nover base", no_wrap=True, justify="right")
    for row in rows:
        shares = ["-" if found is None else f"{100 * found['accuracy']:.1f}" for found in map(row.parts.get, PARTS)]
        table.add_row(row.model, *shares, _gap(row.gaps["memorisation_gap"]), _transfer(row))
    return table


def _gap(gap: dict[str, Any] | None) -> str:
    return "-" if gap is None else _points(gap["difference"], *gap["ci95"])


def _transfer(row: GeneralisationRow) -> str:
    found = row.transfer.get("unseen")
    return "-" if found is None else _points(*found[:3])


def _points(gain: float, low: float, high: float) -> str:
    return f"{100 * gain:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"
