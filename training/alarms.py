"""alarms.jsonl of a stage: what its detectors found. Imports nothing heavy, since `posttrain status` reads it."""

from pathlib import Path
from typing import Any

from training.json_lines import whole_lines

ALARMS = "alarms.jsonl"


def in_brief(alarm: dict[str, Any]) -> str:
    """An alarm in one sentence: which detector, when, what it found."""
    return f"{alarm.get('detector')} at step {alarm.get('step')}: {alarm.get('message')}"


def said(alarm: dict[str, Any]) -> str:
    """An alarm in one line, with the lines of samples.jsonl that show it."""
    lines = ", ".join(str(number) for number in alarm["samples"])
    shown = f"; see samples.jsonl, line {lines}" if lines else ""
    return f"{in_brief(alarm)}{shown}"


def newest_alarms(folder: Path) -> list[str]:
    """The newest alarm of each detector in a stage's folder, in words, in the order they began."""
    newest: dict[str, dict[str, Any]] = {}
    for alarm in whole_lines(folder / ALARMS):
        newest.pop(alarm["detector"], None)
        newest[alarm["detector"]] = alarm
    return [said(alarm) for alarm in newest.values()]
