"""What the benchmarks of real stages share: rows that fill any limit, and runs that are not made twice."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LONG = " ".join(str(number) for number in range(2000))
ROOT = Path(__file__).resolve().parent.parent


def write_rows(folder: Path, kind: str, prompts: Iterable[str]) -> Path:
    """Write `rows.jsonl` with a row for each prompt, longer than the benchmarks' `max_length`; GRPO gets prompts."""
    rows: list[dict[str, Any]] = []
    for prompt in prompts:
        if kind == "sft":
            rows.append({"prompt": prompt, "completion": LONG})
        elif kind == "dpo":
            rows.append({"prompt": prompt, "chosen": LONG, "rejected": LONG[1:]})
        else:
            rows.append({"prompt": prompt, "answer": "1"})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def launch(*arguments: str, output: Any = subprocess.PIPE) -> str:
    """Run the command line; returns what it prints, unless `output` takes that."""
    command = [sys.executable, "-m", "launch", *arguments]
    return subprocess.run(command, cwd=ROOT, check=True, stdout=output, text=True).stdout or ""


@contextmanager
def kept_folder(keep: Path | None) -> Iterator[Path]:
    """The folder where runs are kept; without one a folder that is gone in the end."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = (keep or Path(scratch)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder


def drop_weights(folder: Path) -> None:
    """Remove the weights that were trained under `folder`: nothing measures them, and they are large."""
    for weights in folder.rglob("*.safetensors"):
        if not weights.parent.is_symlink():
            weights.unlink()


def record_path(folder: Path, stage: str, run: Callable[[], object]) -> Path:
    """Return the record of a stage under `folder`, after `run` unless it is there; trained weights are removed."""
    pattern = f"runs/*/*-{stage}-*/record.json"
    if not any(folder.glob(pattern)):
        run()
        drop_weights(folder)
    return next(folder.glob(pattern))
