"""Resuming a checkpoint with another number of ranks than wrote it: the same rows in each step, not the same bits.

Without DeepSpeed every rank has everything, so there is nothing to convert. Under DeepSpeed the shards go through its
universal checkpoint, made anew beside the checkpoint, whose files stay as they are. Random numbers (dropout, rollouts)
are drawn anew, seeded by step and rank. Another ZeRO stage stays refused: DeepSpeed takes it and gives other numbers.
"""

import argparse
import contextlib
import io
import random
import shutil
from pathlib import Path
from typing import Any

import numpy
import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from data.errors import UserError
from training.checkpoint import MANIFEST, manifest_facts
from training.context import StageContext
from training.identity import derived_seed
from training.whole_folder import link_or_copy, whole_folder
from training.world import others_wait

UNIVERSAL = "universal"
"""The folder beside the checkpoints that holds the newest one in DeepSpeed's universal form."""


def was_written_by(checkpoint: Path | None, processes: int) -> int | None:
    """The number of ranks that wrote a checkpoint, if it is another one; None if nothing has changed."""
    if checkpoint is None:
        return None
    written = int(manifest_facts(checkpoint)["processes"])
    return None if written == processes else written


def for_these_ranks(context: StageContext, checkpoint: Path) -> Path:
    """Return a folder that this number of ranks can resume from, made from `checkpoint`; every rank calls this."""
    if context.stage.kind == "grpo":
        require_whole_rounds(checkpoint)
    if context.pipeline.runtime.zero_stage == 0:
        return checkpoint
    context.say(f"{checkpoint.name} goes through DeepSpeed's universal checkpoint")
    converted = checkpoint.with_name(UNIVERSAL)
    with others_wait(context.world):
        if context.world.is_main:
            shutil.rmtree(converted, ignore_errors=True)
            with whole_folder(converted) as folder:
                to_universal(checkpoint, folder)
    return converted


def to_universal(checkpoint: Path, folder: Path) -> None:
    """Write a DeepSpeed checkpoint into `folder` in the form that any number of ranks can load."""
    from deepspeed.checkpoint.ds_to_universal import main

    (shards,) = [path for path in checkpoint.iterdir() if path.name.startswith("global_step")]
    left_out = shutil.ignore_patterns("global_step*", MANIFEST, "rng_state*")
    shutil.copytree(checkpoint, folder, ignore=left_out, copy_function=link_or_copy)
    arguments = argparse.Namespace(
        input_folder=str(shards),
        output_folder=str(folder / shards.name),
        num_extract_workers=1,
        num_merge_workers=1,
        keep_temp_folder=False,
        strict=True,
        inject_missing_state=True,
    )
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        main(arguments)


def require_whole_rounds(checkpoint: Path) -> None:
    """Refuse a checkpoint inside a rollout round: the completions still to train on are dealt out to its ranks."""
    ranks = int(manifest_facts(checkpoint)["processes"])
    states = [torch.load(checkpoint / f"rollout.rank{rank}.pt", weights_only=True) for rank in range(ranks)]
    if any(state["buffer"] is not None for state in states):
        raise UserError(
            f"{checkpoint} lies inside a rollout round, whose completions belong to its {ranks} rank(s); go on with "
            f"runtime.processes={ranks}, or remove that checkpoint to go on from the one before it"
        )


class DrawsAnew(TrainerCallback):
    """Seeds each rank's random numbers by the step: the checkpoint has no state for this number of ranks.

    What a rank of the same number left in it is loaded over them afterwards.
    """

    def __init__(self, context: StageContext):
        self.context = context

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after the checkpoint was read and before the first batch is drawn."""
        owner = f"ranks changed at step {state.global_step}: rank {self.context.world.rank}"
        drawn = derived_seed(self.context.seed, owner)
        random.seed(drawn)
        numpy.random.seed(drawn)
        torch.manual_seed(drawn)
