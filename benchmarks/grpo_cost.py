"""What a GRPO step costs by group size, completion length and model size, three points each, and on one rank or two.

    python -m benchmarks.grpo_cost [--only group|length|layers|ranks] [--steps N] [--keep FOLDER] [--json FILE]

Each point is a run of two prompts a step whose groups all have signal, its seconds from the ledger, the first step left
out.
The models are SmolLM2's with fewer layers and random weights, which end no completion by themselves: all have the full
length. *Departure* is how far the third point lies above the line through the first two. Runs that are finished in
FOLDER are not repeated. Nothing else should run.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.against_trl.cases import MODEL, STAGE, Case, write_rows
from benchmarks.against_trl.table import machine, write_json
from benchmarks.real_stages import kept_folder, launch, record_path
from training.json_lines import whole_lines

PROMPTS = 2
PHASES = ("step", "generate", "forward_backward")
HEAD = (
    "| Point | Ranks x threads | Step, s | of it drawing, s | of it training, s | Departure from the line, step "
    "| drawing | training |\n|---|---|---|---|---|---|---|---|"
)


@dataclass(frozen=True)
class Point:
    """One run; `axis` is what it varies, `size` how much of it there is."""

    axis: str
    group: int = 8
    length: int = 64
    layers: int = 10
    ranks: int = 2
    threads: int = 1

    @property
    def size(self) -> int:
        """What the costs are drawn against; layers count without the embedding, which all models share."""
        return self.ranks if self.axis == "ranks" else int(getattr(self, self.axis))

    @property
    def name(self) -> str:
        """Says what is run, so that points that several axes share are run once."""
        return f"g{self.group}-t{self.length}-l{self.layers}-{self.ranks}x{self.threads}"


def points(only: str) -> Iterator[list[Point]]:
    """The points of each axis."""
    values = {"group": (4, 8, 16), "length": (32, 64, 128), "layers": (10, 20, 30)}
    for axis, sizes in values.items():
        if only in axis:
            yield [replace(Point(axis), **{axis: size}) for size in sizes]
    if only in "ranks":
        yield [Point("ranks", ranks=ranks, threads=threads) for ranks, threads in ((1, 1), (1, 2), (2, 1))]


def write_model(layers: int, root: Path) -> Path:
    """A model of so many of SmolLM2's layers, its weights random."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from training.bundled import materialise
    from training.models import load_tokenizer

    folder, source = root / f"model-{layers}", materialise(MODEL.removeprefix("bundled:"))
    if not (folder / "config.json").is_file():
        config = AutoConfig.from_pretrained(str(source), local_files_only=True)
        config.num_hidden_layers = layers
        torch.manual_seed(0)
        AutoModelForCausalLM.from_config(config, dtype=torch.float32).save_pretrained(str(folder))
        load_tokenizer(source).save_pretrained(str(folder))
    return folder


def measure(point: Point, steps: int, root: Path) -> dict[str, float]:
    """Mean seconds of a step by phase, run unless its record is there."""
    case = Case(point.name, "grpo", PROMPTS * point.group, 4, point.length, "always", point.group, point.ranks)
    folder = root / point.name
    folder.mkdir(parents=True, exist_ok=True)
    pipeline = case.pipeline(write_rows(case, None, folder))
    pipeline["model"] = str(write_model(point.layers, root))
    pipeline["stages"][0]["trainer"]["max_steps"] = steps
    pipeline["runtime"] |= {"runs_dir": str(folder / "runs"), "threads_per_process": point.threads}
    config = folder / "point.yaml"
    config.write_text(json.dumps(pipeline))
    record = record_path(folder, STAGE, lambda: launch("run", str(config), output=sys.stderr))
    rows = whole_lines(record.parent / "metrics.jsonl")[1:]
    return {phase: fmean(row[f"timing_s/{phase}"] for row in rows) for phase in PHASES}


def departure(sizes: list[int], seconds: list[float]) -> float:
    """How far the third point lies above the line through the first two, as a share of the line."""
    slope = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
    return seconds[2] / (seconds[0] + slope * (sizes[2] - sizes[0])) - 1


def lines(axis: list[Point], found: list[dict[str, float]]) -> list[str]:
    """The rows of an axis; ranks lie on no line."""
    sizes = [point.size for point in axis]
    rows = []
    for number, (point, seconds) in enumerate(zip(axis, found, strict=True)):
        apart = [""] * len(PHASES)
        if number == len(axis) - 1 and axis[0].axis != "ranks":
            apart = [f"{departure(sizes, [each[phase] for each in found]):+.0%}" for phase in PHASES]
        what = f"{point.axis} {point.size}" if point.axis != "ranks" else "the same step"
        shown = [what, f"{point.ranks} x {point.threads}", *(f"{seconds[phase]:.2f}" for phase in PHASES), *apart]
        rows.append(f"| {' | '.join(shown)} |")
    return rows


def main() -> None:
    """Run the points and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=("group", "length", "layers", "ranks"), default="", help="this axis alone")
    parser.add_argument("--steps", type=int, default=4, help="optimizer steps of a run, two or more")
    parser.add_argument("--keep", type=Path, help="folder of the runs; those finished there are not repeated")
    parser.add_argument("--json", type=Path, help="write every point's seconds here")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with kept_folder(arguments.keep) as root:
        base = f"group 8, length 64, 10 layers, {PROMPTS} prompts a step unless named"
        print(f"{machine()}; {base}\n\n{HEAD}", flush=True)
        for axis in points(arguments.only):
            found = [measure(point, arguments.steps, root) for point in axis]
            print("\n".join(lines(axis, found)), flush=True)
            results += [vars(point) | seconds for point, seconds in zip(axis, found, strict=True)]
            write_json(arguments.json, points=results)


if __name__ == "__main__":
    main()
