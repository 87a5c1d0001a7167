"""Trackers opened as a stage opens them, and what the real wandb package leaves on disk, read back."""

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from training.report.collect import read_run as view_run
from training.tracker import open_tracker

BLOCK = 32 * 1024


def read_wandb_file(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: a 7-byte header, then a LevelDB log (32 KiB blocks of CRC, length, kind, bytes)."""
    from wandb.proto import wandb_internal_pb2

    content, position, parts = path.read_bytes(), 7, b""
    while position + 7 <= len(content):
        if BLOCK - position % BLOCK < 7:
            position += BLOCK - position % BLOCK
            continue
        _, length, kind = struct.unpack("<IHB", content[position : position + 7])
        parts += content[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            parts = b""
            yield record


def all_records(folder: Path) -> list[Any]:
    """Every record of the only offline run under a stage folder."""
    (path,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    return list(read_wandb_file(path))


def read_run(folder: Path) -> tuple[Any, dict[str, Any], list[dict[str, Any]], dict[str, Any]]:
    """(run record, config, history rows, summary) of the only offline run under a stage folder."""
    run, config, history, summary = None, {}, [], {}
    for record in all_records(folder):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            run = record.run
            config |= {item.key: json.loads(item.value_json) for item in run.config.update}
        elif kind == "config":
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
        elif kind == "history":
            items = record.history.item
            history.append({item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items})
        elif kind == "summary":
            items = record.summary.update
            summary |= {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}
    return run, config, history, summary


def open_for_test(folder: Path, tracker: str = "wandb", mode: str = "auto", **more: Any) -> Any:
    runtime = SimpleNamespace(tracker=tracker, tracker_mode=mode, tracker_upload_model=False, verl_names=False)
    for name, value in more.items():
        setattr(runtime, name, value)
    return open_tracker(runtime, "quickstart", "grpo", "grpo", {"batch_size": 32, "trainer": {"beta": 0.0}}, folder)


def stage_folder(run: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """The folder of a stage of a made-up run with its record."""
    view = view_run(run).stage(name)
    assert view.folder is not None
    assert view.record is not None
    return view.folder, view.record
