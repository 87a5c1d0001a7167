"""Predicted against measured step time on this machine's CPU, after calibration by one earlier run: docs/plan.md.

    .venv/bin/python -m benchmarks.plan_accuracy [--only TEXT] [--keep FOLDER]

Two small runs of SmolLM2-135M, one SFT and one GRPO, leave ledgers. Every other case, of another batch, length, kind or
number of ranks, or recomputed, is predicted by `posttrain plan --json` beside the ledger of one of them, and then run.
Compared are the likely seconds of an update and the mean of `timing_s/step` without the first step, which warms up.
Rows and completions run into their limits, so the lengths are known. About a minute a case on two cores; a case that is
finished in FOLDER is not run again. A busy machine shows: nothing else should run.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from benchmarks.real_stages import kept_folder, launch, record_path, write_rows
from training.json_lines import whole_lines

PROMPT_TOKENS = 44  # what the prompts of `write_pipeline` have at most in the model's chat template
MODEL = "bundled:smollm2-135m-instruct"


@dataclass(frozen=True)
class Case:
    """One stage. `length` is the width of a training row, for GRPO of a completion; `by` names the ledger's case."""

    name: str
    kind: Literal["sft", "dpo", "grpo"]
    batch: int
    micro_batch: int
    length: int
    by: str = ""
    steps: int = 4
    ranks: int = 1
    checkpointing: bool = False
    lora: bool = False


SFT = Case("sft-calibrates", "sft", batch=4, micro_batch=2, length=128)
GRPO = Case("grpo-calibrates", "grpo", batch=8, micro_batch=4, length=24)
CASES = [
    replace(SFT, name="sft-again", by=SFT.name),
    replace(SFT, name="sft-batch-12", by=SFT.name, batch=12, steps=3),
    replace(SFT, name="sft-length-384", by=SFT.name, length=384, steps=3),
    replace(SFT, name="sft-micro-1", by=SFT.name, micro_batch=1),
    replace(SFT, name="sft-recomputed", by=SFT.name, checkpointing=True),
    replace(SFT, name="sft-2-ranks", by=SFT.name, batch=8, ranks=2),
    replace(SFT, name="sft-lora", by=SFT.name, lora=True),
    replace(SFT, name="dpo", by=SFT.name, kind="dpo", micro_batch=1),
    replace(GRPO, name="grpo-batch-16", by=GRPO.name, batch=16, steps=3),
    replace(GRPO, name="grpo-length-64", by=GRPO.name, length=64, steps=3),
    replace(SFT, name="sft-by-grpo", by=GRPO.name),
    replace(GRPO, name="grpo-by-sft", by=SFT.name),
]


def write_pipeline(case: Case, folder: Path) -> Path:
    """Write the pipeline of a case and its rows: the same in every case of a kind, and for GRPO long to answer."""
    folder.mkdir(parents=True, exist_ok=True)
    data = write_rows(folder, case.kind, (f"Write a long story about the number {number}." for number in range(96)))
    trainer: dict[str, Any] = {"max_steps": case.steps, "gradient_checkpointing": case.checkpointing, "bf16": False}
    stage: dict[str, Any] = {"name": "timed", "kind": case.kind, "batch_size": case.batch, "data": {"path": str(data)}}
    if case.kind == "grpo":  # with a reference, since rows without an advantage are skipped without one
        trainer |= {"num_generations": 4, "max_completion_length": case.length, "beta": 0.01}
        stage["rewards"] = ["answer"]
        stage["data"]["max_prompt_tokens"] = PROMPT_TOKENS
    else:
        trainer["max_length"] = case.length
    stage |= {"trainer": trainer} | ({"lora": {"r": 8}} if case.lora else {})
    runtime = {"processes": case.ranks, "micro_batch_size": case.micro_batch, "checkpoint_every": None}
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps({"name": case.name, "model": MODEL, "stages": [stage], "runtime": runtime}))
    return path


def measured_s(case: Case, root: Path) -> float:
    """Run the case unless its record is there; the mean seconds of its steps after the first."""
    folder = root / case.name
    place = f"runtime.runs_dir={folder / 'runs'}"
    record = record_path(folder, "timed", lambda: launch("run", str(write_pipeline(case, folder)), place))
    steps = whole_lines(record.parent / "metrics.jsonl")
    return fmean(step["timing_s/step"] for step in steps[1:])


def predicted_s(case: Case, root: Path) -> float:
    """What `posttrain plan` says beside the run that calibrates; rows fill their limits where that run had others."""
    config, runs = write_pipeline(case, root / case.name), root / case.by / "runs"
    shown = launch("plan", str(config), f"runtime.runs_dir={runs}", "--json", "--fill", "1")
    stage = next(stage for stage in json.loads(shown)["stages"] if stage["name"] == "timed")
    assert stage["time"]["calibration"], f"{case.by} left no ledger in {runs}"
    return float(stage["time"]["update_s"]["likely"])


def main() -> None:
    """Run the cases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the cases whose name contains TEXT")
    parser.add_argument("--keep", type=Path, help="folder of the runs; those finished there are not repeated")
    arguments = parser.parse_args()
    with kept_folder(arguments.keep) as root:
        cases = [case for case in CASES if arguments.only in case.name]
        for calibrating in (SFT, GRPO):
            if any(case.by == calibrating.name for case in cases):
                print(f"{calibrating.name}: {measured_s(calibrating, root):.2f} s a step", flush=True)
        print("\n| Case | Calibrated by | Predicted, s | Measured, s | Error |\n|---|---|---|---|---|", flush=True)
        for case in cases:
            said, real = predicted_s(case, root), measured_s(case, root)
            print(f"| {case.name} | {case.by} | {said:.2f} | {real:.2f} | {said / real - 1:+.0%} |", flush=True)


if __name__ == "__main__":
    main()
