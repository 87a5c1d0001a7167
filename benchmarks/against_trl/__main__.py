"""posttrain against TRL's own trainers, step by step on one machine: docs/speed.md.

    python -m benchmarks.against_trl [--only TEXT] [--pairs N] [--sft-rows FILE] [--dpo-rows FILE] [--json FILE]

Two baselines of the TRL that is installed: `equal` has our ranks, precision, micro-batch and activation checkpointing;
`documented` is the trainer given a model's name, its defaults plus bf16, one process. Both sides are loaded, then they
make one step each in turn, in changing order, `--pairs` times after a warm-up; the ratios are medians over the pairs.
SFT and DPO take any file that `posttrain data` reads. Nothing else should run. Memory for both sides is needed.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.against_trl.cases import CASES, STAGE, Case, Way, write_rows
from benchmarks.against_trl.environments import QUIET, plain_environments
from benchmarks.against_trl.table import TABLE_HEAD, machine, rows_of_table, write_json
from benchmarks.against_trl.turns import Conductor, Side
from launch.rank_environment import rank_environments
from launch.rendezvous import local_rendezvous
from training.config import load_pipeline

WARM_UP = 1


class Arena:
    """The folder where a case's sides run."""

    def __init__(self, case: Case, source: Path | None, folder: Path):
        self.case, self.folder = case, folder
        self.rows = write_rows(case, source, folder)
        self.config = folder / f"{case.name}.yaml"
        self.config.write_text(json.dumps(case.pipeline(self.rows)))
        self.runtime = load_pipeline(self.config, []).runtime
        self.environments = rank_environments(self.runtime, True, rendezvous=local_rendezvous(self.runtime))
        self.conductor = Conductor(folder)

    def start(self, way: Way) -> Side:
        """Start one side and wait until it stands before its first step."""
        if way == "ours":
            module = [sys.executable, "-m", "benchmarks.against_trl.our_side", str(self.config), "--stage", STAGE]
            command = [*module, "--run-dir", str(self.folder / f"run-{self.case.name}")]
            return self.conductor.start("ours", command, self.environments)
        spec = self.folder / f"{self.case.name}-{way}.json"
        spec.write_text(json.dumps(self.case.spec(way, self.model(), self.rows, self.folder)))
        command = [sys.executable, "-m", "benchmarks.against_trl.trl_side", str(spec)]
        return self.conductor.start(way, command, self._plain_environments(way))

    def _plain_environments(self, way: Way) -> list[dict[str, str]]:
        """What torchrun would set for the equal side; nothing for the documented one."""
        return [{**os.environ, **QUIET}] if way == "documented" else plain_environments(self.runtime)

    def model(self) -> Path:
        """The base model as our side has laid it out; our side starts first."""
        return next((self.folder / f"run-{self.case.name}").glob("00-base-*/model")).resolve()


def pair_up(first: Side, second: Side, pairs: int) -> list[dict[str, Any]]:
    """Alternate single steps, the warm-up left out; the order changes from pair to pair."""
    results = []
    for number in range(WARM_UP + pairs):
        order = (first, second) if number % 2 == 0 else (second, first)
        steps = {side.name: side.step() for side in order}
        ratio = steps[second.name]["seconds"] / steps[first.name]["seconds"]
        print(f"  pair {number}: {steps_text(steps)}, {ratio:.2f}x", file=sys.stderr, flush=True)
        if number >= WARM_UP:
            results.append(steps)
    return results


def steps_text(steps: dict[str, dict[str, Any]]) -> str:
    """The seconds of a pair's steps."""
    return ", ".join(f"{name} {step['seconds']:.1f} s" for name, step in steps.items())


def compare(case: Case, way: Way, source: Path | None, pairs: int) -> dict[str, Any]:
    """Run ours beside one baseline."""
    with tempfile.TemporaryDirectory() as scratch:
        arena = Arena(case, source, Path(scratch))
        count = len(arena.rows.read_text().splitlines())
        try:
            ours, theirs = arena.start("ours"), arena.start(way)
            steps = pair_up(ours, theirs, pairs)
            sides = {side.name: side for side in (ours, theirs)}
            memory = {name: side.peak_memory_gb() for name, side in sides.items()}
            reference_s = {name: side.said["reference_s"] for name, side in sides.items()}
        except RuntimeError:
            for log in sorted(Path(scratch).glob("*.log")):
                print(f"--- {log.name}\n{log.read_text()[-3000:]}", file=sys.stderr)
            raise
        finally:
            arena.conductor.end()
        for pair in steps:  # TRL trains 8 rows or pairs a step as documented
            pair["ours"]["rows"], pair[way]["rows"] = case.batch, 8 if way == "documented" else case.batch
    return {"case": case.name, "kind": case.kind, "batch": case.batch, "baseline": way, "pairs": steps} | {
        "peak_memory_gb": memory,
        "reference_s": reference_s,
        "rows": count,
        "median_ratio": median(pair[way]["seconds"] / pair["ours"]["seconds"] for pair in steps),
    }


def main() -> None:
    """Run the cases asked for, print the table and keep every step in JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="run the cases whose name contains TEXT")
    parser.add_argument("--baseline", choices=("equal", "documented"), action="append", help="default: both")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--sft-rows", type=Path)
    parser.add_argument("--dpo-rows", type=Path)
    parser.add_argument("--json", type=Path, help="write every step's numbers here")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # the sides end with this process
    sources = {"grpo": None, "sft": arguments.sft_rows, "dpo": arguments.dpo_rows}
    results: list[dict[str, Any]] = []
    print(f"{machine()}\n\n{TABLE_HEAD}", flush=True)
    for case in CASES:
        if arguments.only not in case.name:
            continue
        if case.kind != "grpo" and sources[case.kind] is None:
            print(f"{case.name}: left out, give --{case.kind}-rows", file=sys.stderr)
            continue
        for way in arguments.baseline or ["equal", "documented"]:
            results.append(compare(case, way, sources[case.kind], arguments.pairs))
            print("\n".join(rows_of_table(results[-1])), flush=True)
            write_json(arguments.json, results=results)


if __name__ == "__main__":
    main()
