"""Where the training rows came from and what became of them: per stage the sources, the account, and rows dropped."""

from typing import Any

from training.report.collect import RunView, StageView
from training.report.line_files import first_lines
from training.report.markup import Markup, element, join, section, table

SHOWN_DROPS = 5


def data_section(run: RunView) -> Markup | None:
    """Rows in, kept and dropped by reason, per stage; None when no stage has read data."""
    read = [(stage, stage.record["data"]) for stage in run.stages if stage.record and stage.record.get("data")]
    if not read:
        return None
    head = ("stage", "source", "rows in", "kept", "dropped", "tokens a row", "findings", "sha256")
    rows = [_row(stage, data) for stage, data in read]
    inner = element("div", table(head, rows, "Training data", (2, 3)), class_="panel sources")
    dropped = [shown for stage, data in read if (shown := _dropped(stage, data)) is not None]
    lead = "Every row in is kept or dropped for a reason; sha256 is of the rows kept."
    return section("data", "Data", inner, *dropped, lead=lead)


def source_words(source: dict[str, Any]) -> str:
    """A data source in one line: its simple values, the names where a value is a dict or a list, parts of a mix."""
    parts = []
    for key, value in source.items():
        if key == "mix" and isinstance(value, list):
            parts += [f"{number}. {source_words(part)}" for number, part in enumerate(value, start=1)]
            continue
        if isinstance(value, dict) and "name" in value:
            value = value["name"]
        elif isinstance(value, dict | list):
            value = ", ".join(str(one) for one in value)
        if value:
            parts.append(f"{key}: {value}")
    return "; ".join(parts)


def _row(stage: StageView, data: dict[str, Any]) -> list[Markup | str | int]:
    digest = element("code", str(data.get("rows_sha256") or "")[:12])
    doctor = data.get("doctor") or {}
    source = source_words(data.get("source") or {})
    return [stage.name, source, *account(data), _tokens(doctor), _findings(doctor), digest]


def account(data: dict[str, Any]) -> list[str]:
    """Rows in, rows kept, and rows dropped by reason, of a record's data."""
    counts = [f"{data[key]:,}" if data.get(key) is not None else "" for key in ("rows_in", "rows_kept")]
    return [*counts, _counted(data.get("dropped") or {}) or "none"]


def _counted(counts: dict[str, Any]) -> str:
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.items() if count)


def _tokens(doctor: dict[str, Any]) -> str:
    """Median and longest by sequence (a row has one, a pair two)."""
    spreads = doctor.get("tokens") or {}
    return "; ".join(
        f"{'' if name == 'row' else f'{name}: '}median {spread['median']:,}, longest {spread['max']:,}"
        for name, spread in spreads.items()
    )


def _findings(doctor: dict[str, Any]) -> str:
    return _counted({**(doctor.get("flagged") or {}), **(doctor.get("noted") or {})}) or ("none" if doctor else "")


def _dropped(stage: StageView, data: dict[str, Any]) -> Markup | None:
    """The first rows of dropped_rows.jsonl, where the stage has one."""
    rows = first_lines(stage.path("dropped_rows.jsonl"), SHOWN_DROPS)
    if not rows:
        return None
    total = sum((data.get("dropped") or {}).values())
    cells = [
        [str(row.get("where", row.get("row", ""))), str(row.get("reason", "")).replace("_", " "), _detail(row)]
        for row in rows
    ]
    told = f"{stage.name}: the first {len(rows)} of {total:,} rows dropped"
    inner = table(("row", "reason", "what was found"), cells, told)
    more = element("p", join("All of them: ", element("code", "dropped_rows.jsonl")), class_="meta")
    return element("details", element("summary", f"Rows dropped by {stage.name}"), inner, more)


def _detail(row: dict[str, Any]) -> str:
    text = str(row.get("detail") or "")
    return text if len(text) <= 200 else f"{text[:200]}\u2026"
