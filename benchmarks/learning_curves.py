"""Whether our GRPO learns as TRL's does: the quickstart's GRPO stage by both from the same models, rows and seeds.

    python -m benchmarks.learning_curves [--seeds 1 2 3] [--steps 20] [--keep FOLDER] [--json FILE]

Printed are the mean rewards of each run over quarters of its steps, and the mean difference between the arms over the
seeds with its 95 % interval (paired by seed, Student's t): the curves agree where 0 lies inside. Draws differ, since
both sample by random numbers of their own. Runs that are finished in FOLDER are not repeated.
`--seeds 1 2 --steps 4 --model bundled:tiny-random` shows that it runs.
"""

import argparse
from itertools import pairwise
from math import sqrt
from pathlib import Path
from statistics import fmean, stdev

from benchmarks.against_trl.table import machine, write_json
from benchmarks.arms import ARMS, Arm, Curve, Work, run_arms
from benchmarks.real_stages import kept_folder

PARTS = 4
T_95 = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""The 97.5 % quantile of Student's t for 1, 2, ... degrees of freedom."""


def quarters(curve: Curve) -> list[float]:
    """The mean reward over each quarter of the steps."""
    rewards = [step["reward"] for step in curve]
    bounds = [round(part * len(rewards) / PARTS) for part in range(PARTS + 1)]
    return [fmean(rewards[a:b]) for a, b in pairwise(bounds)]


def difference(ours: list[float], theirs: list[float]) -> tuple[float, float]:
    """The mean of paired differences and the half-width of its 95 % interval; needs two pairs or more."""
    pairs = [a - b for a, b in zip(ours, theirs, strict=True)]
    return fmean(pairs), T_95[len(pairs) - 2] * stdev(pairs) / sqrt(len(pairs))


def table(curves: dict[int, dict[Arm, Curve]]) -> str:
    """A line for each run, and the differences."""
    heads = [f"Reward, steps of quarter {part + 1}" for part in range(PARTS)] + ["All steps"]
    lines = [f"| Run | {' | '.join(heads)} |", "|---|" + "---|" * len(heads)]
    found: dict[Arm, list[list[float]]] = {arm: [] for arm in ARMS}
    for seed, both in curves.items():
        for arm in ARMS:
            means = quarters(both[arm])
            means.append(fmean(step["reward"] for step in both[arm]))
            found[arm].append(means)
            lines.append(f"| {arm}, seed {seed} | {' | '.join(f'{mean:.3f}' for mean in means)} |")
    columns = [list(zip(*found[arm], strict=True)) for arm in ARMS]
    told = [difference(list(ours), list(theirs)) for ours, theirs in zip(*columns, strict=True)]
    cells = [f"{mean:+.3f} ± {half:.3f}{'' if abs(mean) <= half else ' **apart**'}" for mean, half in told]
    lines.append(f"| ours less TRL's | {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Train and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="two to ten of them")
    parser.add_argument("--steps", type=int, default=20, help="four or more")
    parser.add_argument("--model", help="another model than the quickstart's")
    parser.add_argument("--keep", type=Path, help="folder of the runs; those finished there are not repeated")
    parser.add_argument("--json", type=Path, help="write every step's numbers here")
    arguments = parser.parse_args()
    if not 2 <= len(arguments.seeds) <= len(T_95) + 1 or arguments.steps < PARTS:
        parser.error(f"--seeds takes 2 to {len(T_95) + 1} seeds, --steps {PARTS} or more")
    with kept_folder(arguments.keep) as folder:
        curves = run_arms(Work("grpo", arguments.steps, model=arguments.model), arguments.seeds, folder)
    print(f"{machine()}\n\n{table(curves)}")
    write_json(arguments.json, curves=curves)


if __name__ == "__main__":
    main()
