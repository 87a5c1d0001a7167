"""What dynamic sampling costs and brings: the same GRPO stage without and with it, from one SFT model.

    .venv/bin/python -m benchmarks.dynamic_sampling [--keep FOLDER] [KEY.PATH=VALUE ...]

`dynamic_sampling.yaml` trains SmolLM2-135M for a moment and then twice on prompts that it always, sometimes and
never solves. Printed, a step a line: the share of groups that have signal when they are trained on, completions drawn,
completions that a gradient comes from, and seconds for a group with signal. The counts are the same on a busy machine,
the seconds are not. Stages that are finished in FOLDER are not run again.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from benchmarks.real_stages import kept_folder, launch

CONFIG = Path(__file__).with_suffix(".yaml")
ARMS = ("plain", "dynamic")


@dataclass(frozen=True)
class Step:
    """One optimizer step of an arm; it trains on one rollout round of `groups` groups."""

    groups: int
    completions: int
    drawn: int
    """Groups drawn for it, those of refills included."""
    silent: int
    """Groups without signal among those trained on."""
    reward: float
    """Mean total reward of the groups as first drawn."""
    seconds: float
    generating: float

    @property
    def useful(self) -> int:
        """Groups with signal among those trained on."""
        return self.groups - self.silent


def read_steps(metrics: Path, completions: int, group_size: int) -> list[Step]:
    """Return the steps of a stage that draws `completions` in groups of `group_size` for each of them."""
    groups = completions // group_size
    return [
        Step(
            groups,
            completions,
            drawn=round(row.get("groups/drawn", groups)),
            silent=round(row["groups/without_signal"] * groups),
            reward=row.get("groups/reward_drawn", row["reward"]),
            seconds=row["timing_s/step"],
            generating=row["timing_s/generate"],
        )
        for row in map(json.loads, metrics.read_text(encoding="utf-8").splitlines())
    ]


def line(label: str, steps: list[Step]) -> str:
    """One line of the table, over one step or all of an arm."""
    groups, useful, drawn = (sum(getattr(step, name) for step in steps) for name in ("groups", "useful", "drawn"))
    size = steps[0].completions // steps[0].groups
    seconds = sum(step.seconds for step in steps)
    share = sum(step.generating for step in steps) / seconds
    each = f"{seconds / useful:.1f}" if useful else "-"
    reward = fmean(step.reward for step in steps)
    return (
        f"| {label} | {useful / groups:.0%} | {drawn * size} | {useful * size} | {drawn / useful if useful else 0:.2f} "
        f"| {seconds:.0f} | {share:.0%} | {each} | {reward:.2f} |"
    )


HEADER = (
    "| Step | Groups with signal | Completions drawn | Useful completions | Groups drawn a useful one | Seconds "
    "| of it generating | Seconds a useful group | Reward as drawn |\n|---|---|---|---|---|---|---|---|---|"
)


def table(arms: dict[str, list[Step]]) -> str:
    """The lines of every step and of each arm as a whole."""
    lines = [HEADER]
    for arm, steps in arms.items():
        lines += [line(f"{arm} {number}", [step]) for number, step in enumerate(steps, start=1)]
        lines.append(line(f"**{arm}**", steps))
    return "\n".join(lines)


def run(folder: Path, overrides: list[str]) -> dict[str, list[Step]]:
    """Run the pipeline in `folder`, as far as it is not there yet, and read both arms."""
    launch("run", str(CONFIG), f"runtime.runs_dir={folder}", *overrides, output=sys.stderr)
    arms = {}
    for arm in ARMS:
        (record,) = folder.glob(f"*/*-{arm}-*/record.json")
        config = json.loads(record.read_text(encoding="utf-8"))["config"]
        arms[arm] = read_steps(
            record.parent / "metrics.jsonl", config["batch_size"], config["trainer"]["num_generations"]
        )
    return arms


def main() -> None:
    """Run both arms and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, help="folder of the runs; stages finished there are not repeated")
    parser.add_argument("overrides", nargs="*", metavar="KEY.PATH=VALUE", help="keys of dynamic_sampling.yaml")
    arguments = parser.parse_args()
    with kept_folder(arguments.keep) as folder:
        print(table(run(folder, arguments.overrides)))


if __name__ == "__main__":
    main()
