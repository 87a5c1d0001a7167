"""A training stage of the quickstart twice, from one parent: trained by us and by TRL's unchanged trainer.

Rows, rewards, hyperparameters, seed, ranks and precision are the same; `benchmarks.learning_curves` and
`benchmarks.time_to_accuracy` read both curves. The quickstart's stages before it are made once in the folder given.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.against_trl.environments import plain_environments
from benchmarks.real_stages import ROOT, drop_weights, launch
from benchmarks.trl_stage import CURVE
from training.config import load_pipeline
from training.exit_codes import PREEMPTED
from training.json_lines import whole_lines
from training.plan import plan_run
from training.run_folder import run_path

QUICKSTART = ROOT / "configs" / "quickstart.yaml"
SUITE = "in_domain"
Arm = Literal["ours", "trl"]
ARMS: tuple[Arm, ...] = ("ours", "trl")
Curve = list[dict[str, Any]]
"""A line a step: `step`, `seconds` trained so far without probes, the metrics of the step."""


@dataclass(frozen=True)
class Work:
    """What both arms train: a stage of the quickstart for `steps`, probed on `items` fresh questions every `every`."""

    stage: Literal["sft", "grpo"]
    steps: int
    every: int | None = None
    items: int = 64
    model: str | None = None

    def pipeline(self, seeds: list[int]) -> dict[str, Any]:
        """The quickstart up to the stage's parent, then a stage for each arm and seed."""
        from ruamel.yaml import YAML

        content = YAML(typ="safe").load(QUICKSTART.read_text())
        names = [stage["name"] for stage in content["stages"]]
        parents = content["stages"][: names.index(self.stage)]
        block = content["stages"][names.index(self.stage)]
        arms = [self._arm(block, parents, arm, seed) for seed in seeds for arm in ARMS]
        kept = {name: content[name] for name in ("seed", "model", "system", "suites", "runtime")}
        kept |= {"name": f"arms-{self.stage}"} | ({} if self.model is None else {"model": self.model})
        return kept | {"stages": parents + arms}

    def _arm(self, block: dict[str, Any], parents: list[dict[str, Any]], arm: Arm, seed: int) -> dict[str, Any]:
        trained = [stage["name"] for stage in parents if stage["kind"] in ("sft", "dpo")]
        a_step = block["batch_size"] // block["trainer"].get("num_generations", 1)
        generator = block["data"]["generator"] | {"rows": a_step * self.steps, "seed": seed}
        trainer = block["trainer"] | {"max_steps": self.steps}
        probe = {"suites": [SUITE], "every": self.every, "items": self.items, "max_completion_length": 56}
        changed = {"name": f"{arm}-{seed}", "from": trained[-1] if trained else "base", "seed": seed}
        changed |= {"data": {"generator": generator}, "trainer": trainer}
        return block | changed | ({} if self.every is None else {"probe": probe})


def run_arms(work: Work, seeds: list[int], folder: Path) -> dict[int, dict[Arm, Curve]]:
    """Train what is not in `folder` yet, the arms in changing order; returns the curve of each seed and arm."""
    config = folder / f"arms-{work.stage}.yaml"
    config.write_text(json.dumps(work.pipeline(seeds)))
    runs = Runs(config, folder / "runs")
    for stage in runs.pipeline.stages[: -len(ARMS) * len(seeds)]:
        runs.launch(stage.name)
    curves: dict[int, dict[Arm, Curve]] = {seed: {} for seed in seeds}
    for number, seed in enumerate(seeds):
        for arm in ARMS if number % 2 == 0 else ARMS[::-1]:
            print(f"{arm}, seed {seed} ...", file=sys.stderr, flush=True)
            curves[seed][arm] = (runs.ours if arm == "ours" else runs.trls)(f"{arm}-{seed}")
    return curves


class Runs:
    """The run folder of a pipeline of arms."""

    def __init__(self, config: Path, runs_dir: Path):
        self.config, self.place = config, f"runtime.runs_dir={runs_dir}"
        self.pipeline = load_pipeline(config, [self.place])
        self.plan = plan_run(self.pipeline, run_path(self.pipeline))

    def launch(self, stage: str) -> None:
        """Run a stage as users do."""
        launch("run", str(self.config), self.place, "--stage", stage, output=sys.stderr)

    def ours(self, stage: str) -> Curve:
        """Our curve of a stage, trained unless its record is there."""
        folder = self.plan[stage].folder
        if not (folder / "record.json").is_file():
            self.launch(stage)
            drop_weights(folder)
        return our_curve(whole_lines(folder / "metrics.jsonl"))

    def trls(self, stage: str) -> Curve:
        """TRL's curve of a stage, trained unless it is there to its last step."""
        path = self.plan[stage].folder / CURVE
        (block,) = (each for each in self.pipeline.stages if each.name == stage)
        if not path.is_file() or whole_lines(path)[-1]["step"] < block.trainer["max_steps"]:
            command = [sys.executable, "-m", "benchmarks.trl_stage", str(self.config), "--stage", stage]
            command += ["--set", self.place]
            environments = plain_environments(self.pipeline.runtime)
            ranks = [subprocess.Popen(command, cwd=ROOT, env=each, stdout=sys.stderr) for each in environments]
            codes = [rank.wait() for rank in ranks]
            if set(codes) != {PREEMPTED}:
                raise RuntimeError(f"{stage}: TRL's trainer did not get to its end; exit codes {codes}")
        return whole_lines(path)


def our_curve(rows: Curve) -> Curve:
    """Lines of metrics.jsonl as a curve: a probe's seconds stand in the ledger as `evaluate`, of the step after it."""
    curve: Curve = []
    seconds = 0.0
    for row in rows:
        seconds += row["timing_s/step"] - row.get("timing_s/evaluate", 0.0)
        curve.append(row | {"seconds": seconds})
    return curve
