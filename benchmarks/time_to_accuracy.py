"""Seconds of training until a model reaches an accuracy, by us and by TRL's trainer with the same hyperparameters.

    python -m benchmarks.time_to_accuracy [--stage sft|grpo] [--steps N] [--every N] [--items N] [--at 0.4 0.5 ...]
                                          [--seeds 1] [--keep FOLDER] [--json FILE]

Both arms train a stage of the quickstart from the same parent and answer the same fresh questions of its families
greedily every few steps, off the clock; ours for both. Told is the first probe at or above each accuracy. SFT starts
from the base, GRPO from the quickstart's DPO; `--steps 2 --every 1 --items 4 --model bundled:tiny-random` shows that it
runs.
"""

import argparse
from pathlib import Path

from benchmarks.against_trl.table import machine, write_json
from benchmarks.arms import ARMS, SUITE, Arm, Curve, Work, run_arms
from benchmarks.real_stages import kept_folder

STEPS = {"sft": 24, "grpo": 40}
ACCURACY = f"probe/{SUITE}/accuracy"
HEAD = "| Accuracy | Seed | Ours, s (step) | TRL, s (step) | TRL over ours |\n|---|---|---|---|---|"


def reached(curve: Curve, accuracy: float) -> tuple[float, int] | None:
    """(seconds, step) of the first probe at or above `accuracy`; None where there is none."""
    for step in curve:
        if step.get(ACCURACY, -1.0) >= accuracy:
            return step["seconds"], step["step"]
    return None


def lines(curves: dict[int, dict[Arm, Curve]], accuracies: list[float]) -> list[str]:
    """A row of the table for each accuracy and seed."""
    rows = []
    for accuracy in accuracies:
        for seed, both in curves.items():
            found = [reached(both[arm], accuracy) for arm in ARMS]
            cells = ["not reached" if one is None else f"{one[0]:.0f} ({one[1]})" for one in found]
            ours, theirs = found
            ratio = "" if ours is None or theirs is None else f"{theirs[0] / ours[0]:.2f}x"
            rows.append(f"| {accuracy:.2f} | {seed} | {' | '.join(cells)} | {ratio} |")
    return rows


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=tuple(STEPS), default="sft")
    parser.add_argument("--steps", type=int, help=f"default {STEPS}")
    parser.add_argument("--every", type=int, default=2, help="steps between probes")
    parser.add_argument("--items", type=int, default=64, help="questions of a probe")
    parser.add_argument("--at", type=float, nargs="+", default=[0.3, 0.4, 0.5, 0.6], help="accuracies to reach")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--model", help="another model than the quickstart's")
    parser.add_argument("--keep", type=Path, help="folder of the runs; those finished there are not repeated")
    parser.add_argument("--json", type=Path, help="write every step's numbers here")
    arguments = parser.parse_args()
    work = Work(
        arguments.stage, arguments.steps or STEPS[arguments.stage], arguments.every, arguments.items, arguments.model
    )
    with kept_folder(arguments.keep) as folder:
        curves = run_arms(work, arguments.seeds, folder)
    print(f"{machine()}\n\n{HEAD}\n" + "\n".join(lines(curves, arguments.at)))
    write_json(arguments.json, curves=curves)


if __name__ == "__main__":
    main()
