"""Changes to a made-up run (tests.fake_run), so that two copies of it differ in one thing."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fake_run import write_lines
from training.report.collect import read_lines, read_run

Row = dict[str, Any]


def change_pipeline(run: Path, change: Callable[[Row], None]) -> None:
    path = run / "pipeline.resolved.json"
    pipeline = json.loads(path.read_text())
    change(pipeline)
    path.write_text(json.dumps(pipeline))


def change_rows(run: Path, stage: str, name: str, change: Callable[[Row], Row]) -> None:
    folder = read_run(run).stage(stage).folder
    write_lines(folder / name, [change(row) for row in read_lines(folder / name)])


def change_record(run: Path, stage: str, change: Callable[[Row], None]) -> None:
    path = read_run(run).stage(stage).folder / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def stage_of(pipeline: Row, name: str) -> Row:
    return next(stage for stage in pipeline["stages"] if stage["name"] == name)
