"""One rank of a stage of ours trained by TRL's unchanged trainer: our parent, rows, rewards, arguments, its own step.

    python -m benchmarks.trl_stage CONFIG --stage NAME [--run-dir DIR]

Kinds sft and grpo. Leaves CURVE in the stage's folder, a line a step: the seconds trained so far, what TRL logs, and
the stage's probe where our trainer would make it, off the clock. It leaves no model and no record, and exits with 75.
"""

import json
import sys
import time
from types import SimpleNamespace
from typing import Any

from transformers import TrainerCallback

from training import run_stage, train
from training.context import StageContext, StageResult
from training.probe import ProbeCallback
from training.questions import probe_questions

CURVE = "trl_curve.jsonl"


class Curve(TrainerCallback):
    """Notes the steps; added last, so that a step holds all that the trainer does."""

    def __init__(self, context: StageContext, trainer: Any):
        self.context, self.lines = context, list[dict[str, Any]]()
        self.seconds = self.started = 0.0
        self.probe: ProbeCallback | None = None
        block = getattr(context.stage, "probe", None)
        if block is not None:
            stand_in: Any = SimpleNamespace(pending={})
            self.probe = ProbeCallback(context, trainer, stand_in)
            self.probe.items = probe_questions(context, context.planned.name, block, block.suites)

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        self.started = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Note a step that has been logged; the trainer's account at its end is none."""
        logs = logs or {}
        if "train_runtime" in logs:
            return
        self.seconds += time.perf_counter() - self.started
        line = {"step": state.global_step, "seconds": self.seconds} | logs
        if self.probe is not None and (
            state.global_step % self.probe.probe.every == 0 or state.global_step == state.max_steps
        ):
            line |= self.probe.measure()
        self.lines.append(line)
        if self.context.world.is_main:
            text = "".join(json.dumps(each) + "\n" for each in self.lines)
            (self.context.folder / CURVE).write_text(text)
        self.started = time.perf_counter()


def train_plainly(context: StageContext) -> StageResult:
    """Stands for `training.train.run`."""
    import torch

    from training.models import load_tokenizer
    from training.rows import stage_rows
    from training.trainer_args import build_arguments

    stage = context.stage
    arguments = build_arguments(stage, context.pipeline.runtime, context.seed, context.folder / "checkpoints")
    arguments.save_strategy = "no"
    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    usable, _ = stage_rows(context, tokenizer)
    context.training_parent = train.plain_parent(context)
    torch.manual_seed(context.seed)
    trainer = plain_trainer(
        context, usable.rows, model=train.initial_model(context), args=arguments, processing_class=tokenizer
    )
    trainer.add_callback(Curve(context, trainer))
    trainer.train()
    return StageResult(preempted=True)


def plain_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> Any:
    """TRL's trainer of the stage's kind on our rows."""
    import trl

    from training.reward_functions import RewardAdapter, stage_scorer
    from training.rows import shared_dataset

    dataset = shared_dataset(rows, context)
    if context.stage.kind == "sft":
        return trl.SFTTrainer(train_dataset=dataset, **common)
    rewards: Any = RewardAdapter(stage_scorer(context)).functions
    return trl.GRPOTrainer(train_dataset=dataset, reward_funcs=rewards, **common)


if __name__ == "__main__":
    train.run = train_plainly
    sys.exit(run_stage.main(process_ends=True))
