"""Where everything came from: each stage's data with its drops, the environment, the command to run it again."""

import json
from typing import Any

from training.report.collect import RunView, StageView
from training.report.markup import Markup, element, join, section, table

PRIVATE = ("hostname", "executable")
"""Facts of the record that a page people pass on should not tell."""

RUNNER_KEYS = ("folders", "fingerprints", "written_at", "command", "config_path", "overrides", "schema_version")


def data_section(run: RunView) -> Markup | None:
    """Rows in, kept and dropped by reason, per stage; None when no stage has read data."""
    rows = [_data_row(stage, stage.record["data"]) for stage in run.stages if stage.record and stage.record.get("data")]
    if not rows:
        return None
    head = ("stage", "source", "rows in", "kept", "dropped", "sha256")
    inner = element("div", table(head, rows, "Training data", (2, 3)), class_="panel sources")
    return section("data", "Data", inner, _interventions(run))


def environment_section(run: RunView) -> Markup:
    """What ran it, whether stages differ in that, and how to run it again."""
    done = [stage for stage in run.stages if stage.record]
    command = element("pre", str(run.pipeline.get("command") or "posttrain run CONFIG"), class_="command")
    config = {key: value for key, value in run.pipeline.items() if key not in RUNNER_KEYS}
    resolved = element("pre", json.dumps(config, indent=2, ensure_ascii=False))
    parts: list[Markup | None] = [
        element("p", "Command:", class_="meta"),
        command,
        element("details", element("summary", "The pipeline as it was resolved"), resolved),
    ]
    if done:
        last = done[-1].record or {}
        parts = [*_environment(done, last.get("environment") or {}), *parts]
    return section("environment", "Environment and how to run it again", *parts)


def _data_row(stage: StageView, data: dict[str, Any]) -> list[Markup | str | int]:
    dropped = data.get("dropped") or {}
    losses = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in dropped.items() if count)
    digest = element("code", str(data.get("rows_sha256") or "")[:12])
    counts = [f"{data[key]:,}" if data.get(key) is not None else "" for key in ("rows_in", "rows_kept")]
    return [stage.name, _source(data.get("source") or {}), *counts, losses or "none", digest]


def _source(source: dict[str, Any]) -> str:
    """A data source in one line: its simple values, and the names where a value is a dict or a list."""
    parts = []
    for key, value in source.items():
        if isinstance(value, dict | list):
            value = ", ".join(str(one) for one in value)
        if value:
            parts.append(f"{key}: {value}")
    return "; ".join(parts)


def _interventions(run: RunView) -> Markup | None:
    found = [
        (stage.name, one) for stage in run.stages if stage.record for one in stage.record.get("interventions") or []
    ]
    if not found:
        return None
    items = [element("li", f"{name}: {json.dumps(one, ensure_ascii=False)}") for name, one in found]
    return join(element("h3", "Interventions"), element("ul", *items))


def _environment(done: list[StageView], environment: dict[str, Any]) -> list[Markup | None]:
    facts = [(key, value) for key, value in environment.items() if _is_shown(key) and value is not None]
    pairs = [join(element("dt", key.replace("_", " ")), element("dd", str(value))) for key, value in facts]
    packages = environment.get("packages") or {}
    rows = [(name, str(version)) for name, version in sorted(packages.items())]
    versions = element("details", element("summary", "Packages"), table(("package", "version"), rows, "Packages"))
    return [_differences(done), element("dl", *pairs, class_="facts"), versions if rows else None]


def _is_shown(key: str) -> bool:
    return key != "packages" and key not in PRIVATE


def _differences(done: list[StageView]) -> Markup | None:
    """A warning that names what differs between the stages' environments; the base is copied, not computed."""
    values: dict[str, set[str]] = {}
    for stage in (stage for stage in done if stage.kind != "base"):
        environment = (stage.record or {}).get("environment") or {}
        flat = {**environment, **{f"package {name}": v for name, v in (environment.get("packages") or {}).items()}}
        for key, value in flat.items():
            if _is_shown(key):
                values.setdefault(key, set()).add(str(value))
    differing = [
        f"{key.replace('_', ' ')} ({', '.join(sorted(found))})" for key, found in values.items() if len(found) > 1
    ]
    if not differing:
        return None
    return element("p", f"The stages did not all run in the same environment: {'; '.join(differing)}.", class_="banner")
