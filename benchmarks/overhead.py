"""What our own layer costs a step: ledger, callbacks, state files and records of steps, over the same trainer without.

    .venv/bin/python -m benchmarks.overhead [--kind sft|grpo] [--model NAME] [--steps N] [--pairs N] [--json FILE]

Both sides train the same model on the same rows with the same settings by the same TRL trainer (our head and sampler
included); one has what `training.train.attach` hangs on it, at default settings, the other only a clock. Runs alternate
(bare, ours, ours, bare, ...), and step i of one is paired with step i of the other, which has the same rows. The first
two steps of each run warm up. Told are the median difference in milliseconds a step and as a share of the bare step,
with the interval of that median (binomial, 95 %), by the clock and in seconds on the processor. Nothing else
should run: on busy cores the second and the intervals are what can be read.
"""

import argparse
import contextlib
import json
import os
import sys
import tempfile
import time
from math import sqrt
from pathlib import Path
from statistics import median
from typing import Any

WARM_UP_STEPS = 2
CLOCKS = ("wall", "cpu")
"""Seconds by the clock, and those of this process on the processor: on busy cores the second is the one to read."""
Steps = list[dict[str, float]]
"""Seconds by clock of each step of a run."""
MODEL = "bundled:smollm2-135m-instruct"


def main() -> int:
    """Measure and print."""
    arguments = parse()
    with tempfile.TemporaryDirectory() as scratch:
        config = write_config(Path(scratch), arguments)
        bare, ours = measure(config, arguments.pairs)
    found = {clock: compare(bare, ours, clock) for clock in CLOCKS}
    for clock in CLOCKS:
        print(words(clock, found[clock], arguments))
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found | {"bare_s": bare, "ours_s": ours}, indent=1) + "\n")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kind", choices=("sft", "grpo"), default="sft")
    parser.add_argument("--model", default=MODEL, help="bundled:tiny-random shows the milliseconds on short steps")
    parser.add_argument("--steps", type=int, default=8, help="optimizer steps of a run, the first two warm up")
    parser.add_argument("--pairs", type=int, default=4, help="runs of each side")
    parser.add_argument("--batch", type=int, default=4, help="rows or completions a step")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


def write_config(folder: Path, arguments: argparse.Namespace) -> Path:
    """Write a pipeline of one stage and its rows."""
    rows = [
        {"prompt": f"Count to {n + 3}", "completion": " ".join(map(str, range(1, n % 30 + 3))), "answer": str(n + 3)}
        for n in range(arguments.batch * arguments.steps)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    trainer: dict[str, Any] = {"max_steps": arguments.steps, "learning_rate": 1e-5}
    stage: dict[str, Any] = {"name": "stage", "kind": arguments.kind, "batch_size": arguments.batch}
    stage |= {"data": {"path": str(path)}, "trainer": trainer}
    if arguments.kind == "grpo":
        trainer |= {"num_generations": min(4, arguments.batch), "max_completion_length": 32}
        stage["rewards"] = ["answer"]
    runtime = {"runs_dir": str(folder / "runs"), "threads_per_process": int(os.environ.get("OMP_NUM_THREADS", "1"))}
    runtime["micro_batch_size"] = min(4, arguments.batch)
    config = folder / "overhead.yaml"
    config.write_text(json.dumps({"name": "overhead", "model": arguments.model, "stages": [stage], "runtime": runtime}))
    return config


def measure(config: Path, pairs: int) -> tuple[list[Steps], list[Steps]]:
    """Seconds of every step but the first two, by run, of both sides."""
    from training.config import load_pipeline
    from training.run_stage import main as run_stage
    from training.run_stage import quiet_libraries

    quiet_libraries()
    pipeline = load_pipeline(config)
    if run_stage([str(config), "--stage", "base"]) != 0:
        raise SystemExit("the base could not be made")
    bare: list[Steps] = []
    ours: list[Steps] = []
    for pair in range(pairs):
        for observed in (False, True) if pair % 2 == 0 else (True, False):
            with contextlib.redirect_stdout(sys.stderr):
                (ours if observed else bare).append(run_once(pipeline, observed))
            print(f"pair {pair + 1} of {pairs}, {'ours' if observed else 'bare'}", file=sys.stderr)
    return bare, ours


def run_once(pipeline: Any, observed: bool) -> Steps:
    """Train once, with our layer on the trainer or without; returns the seconds of each step behind the warm-up."""
    from training.context import StageContext
    from training.models import load_tokenizer
    from training.plan import plan_run
    from training.rows import stage_rows
    from training.run_folder import run_path
    from training.run_stage import set_threads
    from training.train import attach, make_trainer, plain_parent
    from training.trainer_args import build_arguments
    from training.world import World

    plan = plan_run(pipeline, run_path(pipeline))
    context = StageContext(pipeline, plan, plan["stage"], plan.run_dir, World(0, 0, 1))
    set_threads(context)
    arguments = build_arguments(context.stage, pipeline.runtime, context.seed, context.folder / "checkpoints")
    arguments.save_strategy = "no"
    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    usable, _ = stage_rows(context, tokenizer)
    context.training_parent = plain_parent(context)
    trainer = make_trainer(context, usable, arguments, tokenizer)
    clock = step_clock()
    trainer.add_callback(clock)
    if observed:
        attach(context, trainer, None, usable)
    elif hasattr(trainer, "on_round"):
        trainer.on_round = lambda _: None
    trainer.train()
    context.state.finish("done")
    return clock.seconds[WARM_UP_STEPS:]


def now() -> dict[str, float]:
    """What the clocks show."""
    return {"wall": time.perf_counter(), "cpu": time.process_time()}


def step_clock() -> Any:
    """A callback that notes the seconds from the end of each step to that of the next."""
    from transformers import TrainerCallback

    class StepClock(TrainerCallback):
        """Stands before all other callbacks, so that a step holds what they do."""

        def __init__(self) -> None:
            self.seconds: Steps = []
            self._before = now()

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Start."""
            self._before = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            """Note a step."""
            before, self._before = self._before, now()
            self.seconds.append({clock: self._before[clock] - before[clock] for clock in CLOCKS})

    return StepClock()


def compare(bare: list[Steps], ours: list[Steps], clock: str) -> dict[str, Any]:
    """The median difference of paired steps, in seconds and as a share of the bare step, with its interval."""
    steps = [pair for one, other in zip(bare, ours, strict=True) for pair in zip(one, other, strict=True)]
    pairs = [(b[clock], o[clock]) for b, o in steps]
    seconds = sorted(o - b for b, o in pairs)
    shares = sorted(o / b - 1 for b, o in pairs)
    return {
        "pairs_of_steps": len(pairs),
        "bare_step_s": median(b for b, _ in pairs),
        "overhead_s": median(seconds),
        "overhead_s_ci95": median_interval(seconds),
        "overhead_share": median(shares),
        "overhead_share_ci95": median_interval(shares),
    }


def median_interval(ordered: list[float]) -> tuple[float, float]:
    """The 95 % interval of a median from order statistics (normal approximation of the binomial)."""
    n = len(ordered)
    reach = 1.96 * sqrt(n) / 2
    low, high = max(0, int(n / 2 - reach)), min(n - 1, int(n / 2 + reach))
    return ordered[low], ordered[high]


def words(clock: str, found: dict[str, Any], arguments: argparse.Namespace) -> str:
    """The result in one line."""
    low, high = (1000 * bound for bound in found["overhead_s_ci95"])
    low_share, high_share = (100 * bound for bound in found["overhead_share_ci95"])
    return (
        f"{clock} seconds: {arguments.kind}, {arguments.model}, {found['pairs_of_steps']} pairs of steps, bare step "
        f"{1000 * found['bare_step_s']:.1f} ms: our layer adds {1000 * found['overhead_s']:+.2f} ms "
        f"(95 % interval {low:+.2f} to {high:+.2f}), {100 * found['overhead_share']:+.2f} % "
        f"({low_share:+.2f} to {high_share:+.2f})"
    )


if __name__ == "__main__":
    sys.exit(main())
