"""Stages of small pipelines on the tiny random model, run in this process: trl is imported once for all tests."""

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from training.config import load_pipeline
from training.plan import PlannedStage, plan_run
from training.run_stage import main

WORDS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
MEASURED = ("timing_s", "overlap_s", "perf/", "rank/", "step_time")
"""Metrics that differ from run to run: times, memory and what follows from them."""


def sft_rows(count: int) -> list[dict[str, Any]]:
    """Rows with a prompt and a completion, all different, of several lengths."""
    return [
        {"prompt": f"Count {n}", "completion": " ".join(WORDS[: 1 + n % 5]) + f" <answer>{n}</answer>"}
        for n in range(count)
    ]


def pair_rows(count: int) -> list[dict[str, Any]]:
    """Rows with a prompt, a chosen and a rejected answer."""
    return [
        {"prompt": f"Count {n}", "chosen": " ".join(WORDS[: 1 + n % 5]), "rejected": WORDS[n % 12].upper()}
        for n in range(count)
    ]


def prompt_rows(count: int) -> list[dict[str, Any]]:
    """Rows with a prompt and the right answer."""
    return [{"prompt": f"Count {n}", "answer": str(n)} for n in range(count)]


ROWS = {"sft": sft_rows, "dpo": pair_rows, "grpo": prompt_rows, "sample": prompt_rows}
LENGTH = {"name": "length", "max_length": 16, "buffer": 16, "unit": "characters"}
"""A reward in which a random model's completions differ, so that GRPO has a gradient."""


def stage(kind: str, name: str | None = None, rows: int = 16, folder: Path = Path(), **fields: Any) -> dict[str, Any]:
    """A stage's block on its own data file, written into `folder`; `fields` replace or add to the defaults."""
    name = name or kind
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[kind](rows)))
    block: dict[str, Any] = {"name": name, "kind": kind, "data": {"path": str(path)}}
    if kind == "sample":
        block |= {"draws": 4, "max_completion_length": 8, "rewards": [LENGTH], "min_margin": 0.0}
    else:
        block |= {"batch_size": 8, "trainer": {"learning_rate": 1e-3, "bf16": False, "max_steps": 2}}
    if kind == "grpo":
        block["rewards"] = [LENGTH]
        block["trainer"] |= {"num_generations": 4, "max_completion_length": 8}
    trainer = block.get("trainer", {}) | fields.pop("trainer", {})
    return block | ({"trainer": trainer} if trainer else {}) | fields


def write_pipeline(folder: Path, *stages: dict[str, Any], **top: Any) -> Path:
    """Write a pipeline file into `folder`; JSON is YAML too. `top` replaces or adds keys of the top level."""
    content = {"name": "demo", "model": "bundled:tiny-random", "stages": list(stages)} | top
    content["runtime"] = {"threads_per_process": 1, "micro_batch_size": 4, "runs_dir": str(folder / "runs")} | top.get(
        "runtime", {}
    )
    path = folder / "demo.yaml"
    path.write_text(json.dumps(content, indent=1))
    return path


@contextmanager
def signal_handlers_kept() -> Iterator[None]:
    """Put back the signal handlers that a stage installs for the rest of its process."""
    numbers = (signal.SIGTERM, signal.SIGUSR1)
    before = [signal.getsignal(number) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def run_stage(config: Path, name: str, *arguments: str) -> int:
    """Run one stage as its rank would and return the exit code."""
    with signal_handlers_kept():
        return main([str(config), "--stage", name, *arguments])


def planned(config: Path, name: str, *overrides: str) -> PlannedStage:
    """The stage as the plan has it: its folder, state and fingerprint."""
    pipeline = load_pipeline(config, list(overrides))
    return plan_run(pipeline, Path(pipeline.runtime.runs_dir) / pipeline.name)[name]


def metrics(folder: Path) -> list[dict[str, Any]]:
    """The lines of a stage's metrics.jsonl."""
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def learned(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what is measured by a clock."""
    return [
        {name: value for name, value in row.items() if name != "time" and not name.startswith(MEASURED)}
        for row in metrics(folder)
    ]


def weights(folder: Path) -> dict[str, Any]:
    """The tensors of a stage's model."""
    from safetensors.torch import load_file

    return load_file(folder / "model" / "model.safetensors")
