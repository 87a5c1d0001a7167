"""Achieved FLOP/s of a GRPO stage by phase, beside the matrix product's peak that the stage measured before its start.

    python -m benchmarks.roofline STAGE_FOLDER [--json FILE]

From the stage's own ledger, on the machine it ran on: nothing is run. Model FLOPs as `perf/mfu` has them: 2 a parameter
and token drawn, 6 a parameter and token trained on, whether it was computed or skipped; prompts read for drawing,
attention and recomputation count nothing. The peak is that of all ranks. Needs a rollout round in every step.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from training.environment import cpu_model
from training.estimate.parameters import count
from training.estimate.shape import shape_of
from training.json_lines import whole_lines

HEAD = "| Phase | Seconds a step | GFLOP a step | GFLOP/s | of the peak |\n|---|---|---|---|---|"


def phases(rows: list[dict[str, Any]], completions: int, parameters: int) -> dict[str, Any]:
    """Means over the steps `rows`: `peak` in FLOP/s, and (seconds, FLOP) a step of drawing, training and all of it."""
    steps = len(rows)
    drawn = sum(completions * row["completions/mean_length"] for row in rows) / steps
    trained = sum(row["perf/tokens_per_s"] * row["timing_s/step"] for row in rows) / steps
    work = {"generate": 2.0 * parameters * drawn, "forward_backward": 6.0 * parameters * trained}
    work["step"] = sum(work.values())
    last = rows[-1]
    peak = 6.0 * parameters * last["perf/tokens_per_s"] / last["perf/mfu"]
    seconds = {name: sum(row[f"timing_s/{name}"] for row in rows) / steps for name in work}
    return {"peak": peak, "phases": {name: (seconds[name], flop) for name, flop in work.items()}}


def table(found: dict[str, Any]) -> str:
    """A row for each phase."""
    lines = [HEAD]
    for name, (seconds, flop) in found["phases"].items():
        share = flop / seconds / found["peak"]
        lines.append(f"| {name} | {seconds:.2f} | {flop / 1e9:.0f} | {flop / seconds / 1e9:.1f} | {share:.0%} |")
    return "\n".join(lines)


def read(folder: Path) -> dict[str, Any]:
    """The phases of a finished stage, its first step left out where it has more."""
    config = json.loads((folder / "record.json").read_text())["config"]
    round_size = config["trainer"].get("generation_batch_size") or config["batch_size"]
    if config["kind"] != "grpo" or round_size != config["batch_size"]:
        raise SystemExit(f"{folder} is no GRPO stage with a rollout round in every step")
    rows = whole_lines(folder / "metrics.jsonl")
    shape = shape_of(json.loads((folder / "model" / "config.json").read_text()))
    return phases(rows[1:] or rows, config["batch_size"], count(shape).total)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", type=Path, help="a finished GRPO stage: runs/NAME/NN-STAGE-FINGERPRINT")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = read(arguments.stage)
    print(f"{cpu_model()}, peak of all ranks {found['peak'] / 1e9:.0f} GFLOP/s\n\n{table(found)}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
