"""What one step of a stage takes and how many there are: rows, prompts, rollout rounds, updates and epochs.

Two step notions are kept apart: an *update* is one optimizer step, a *round* one rollout of GRPO that may feed several.
"""

from dataclasses import dataclass
from typing import Any

from training.config import (
    DataBlock,
    DpoStage,
    GrpoStage,
    LikelihoodStage,
    Pipeline,
    PretrainStage,
    RewardModelStage,
    Runtime,
    SampleStage,
    SftStage,
)
from training.config.batch_checks import UNITS
from training.config.trainer_fields import default

Trained = PretrainStage | SftStage | DpoStage | GrpoStage | RewardModelStage


@dataclass(frozen=True)
class BatchAlgebra:
    """The sizes of a training stage. `rows` counts rows, pairs or prompts of its data; None where nobody knows yet.

    `rows_at_most` says that a sample stage before it may keep fewer. `updates` follows from `max_steps`, or from the
    epochs and the rows. `round_size` counts the completions of a rollout round; 0 without rollouts.
    """

    kind: str
    batch_size: int
    ranks: int
    micro_batch: int
    group: int
    round_size: int
    updates_per_round: int
    rows: int | None
    rows_at_most: bool
    updates: int | None
    epochs: float | None
    counts_updates: bool

    @property
    def accumulation(self) -> int:
        """Micro-batches of a rank in one update."""
        return self.batch_size // (self.micro_batch * self.ranks)

    @property
    def prompts(self) -> int:
        """Prompts of one update; rows or pairs where there are no groups."""
        return self.batch_size // self.group

    @property
    def rounds(self) -> float | None:
        """Rollout rounds of the stage."""
        return None if self.updates is None or not self.round_size else self.updates / self.updates_per_round


def algebra(pipeline: Pipeline, stage: Trained, runtime: Runtime) -> BatchAlgebra:
    """Work out the sizes of a stage; the config's rules made sure that they divide."""
    return sizes_of(stage, runtime, *num_rows(pipeline, stage.data))


def sizes_of(stage: Trained, runtime: Runtime, rows: int | None, at_most: bool) -> BatchAlgebra:
    """Work out the sizes of a stage of so many rows."""
    group, round_size, updates_per_round, reuse = 1, 0, 1, 1
    if isinstance(stage, GrpoStage):
        group = int(setting(stage, "num_generations"))
        reuse = int(setting(stage, "num_iterations"))
        round_size = int(stage.trainer.get("generation_batch_size", stage.batch_size))
        updates_per_round = round_size // stage.batch_size * reuse
    if isinstance(stage, LikelihoodStage) and setting(stage, "packing"):
        rows = None  # how many packed rows they make, only their lengths can tell
    fresh = stage.batch_size / group / reuse  # rows or prompts that an update takes from the data
    steps, epochs = int(setting(stage, "max_steps")), float(setting(stage, "num_train_epochs"))
    counted = steps > 0
    if counted:
        updates: int | None = steps
        passes = steps * fresh / rows if rows else None
    else:
        updates = max(1, round(epochs * rows / fresh)) if rows else None
        passes = epochs
    return BatchAlgebra(
        stage.kind,
        stage.batch_size,
        runtime.processes,
        runtime.micro_batch(stage.kind),
        group,
        round_size,
        updates_per_round,
        rows,
        at_most,
        updates,
        passes,
        counted,
    )


def setting(stage: Trained, name: str) -> Any:
    """Return a trainer field as written, or TRL's default."""
    return stage.trainer.get(name, default(stage.kind, name))


def num_rows(pipeline: Pipeline, block: DataBlock) -> tuple[int | None, bool]:
    """Return how many rows the config promises, None where only the data can tell, and whether it may be fewer."""
    at_most = False
    rows = None if block.generator is None else block.generator.rows
    if block.stage is not None:
        source = next(stage for stage in pipeline.stages if stage.name == block.stage)
        assert isinstance(source, SampleStage), "the config's rules admit no other source"
        rows, at_most = num_rows(pipeline, source.data)[0], True
        rows = None if rows is None else rows * source.rows_per_prompt
    if rows is None:
        return block.limit, block.limit is not None
    at_most = at_most or block.difficulty is not None
    return (rows if block.limit is None else min(rows, block.limit)), at_most


def in_words(sizes: BatchAlgebra, data: str) -> str:
    """Say what one step is and how many there are; `data` names the rows, e.g. "64 rows"."""
    unit = UNITS[sizes.kind]
    ranks = "1 rank" if sizes.ranks == 1 else f"{sizes.ranks} ranks"
    steps = "1 accumulation step" if sizes.accumulation == 1 else f"{sizes.accumulation} accumulation steps"
    if not sizes.round_size:
        step = f"= {ranks} x {sizes.micro_batch} {unit} x {steps}"
        name = sizes.kind.replace("_", " ")
        name = name if " " in name or name == "pretrain" else name.upper()
        return f"one {name} step = {sizes.batch_size:,} {unit} {step}; {_length(sizes, 'step', data)}"
    count = sizes.updates_per_round
    return (
        f"one GRPO step = {sizes.prompts} prompts x {sizes.group} completions = {sizes.batch_size:,} completions on "
        f"{ranks} ({sizes.micro_batch} completions x {steps} each); "
        f"{count} optimizer {'update' if count == 1 else 'updates'} a round of {sizes.round_size:,} completions; "
        f"{_length(sizes, 'update', data)}"
    )


def _length(sizes: BatchAlgebra, step: str, data: str) -> str:
    at_most = "at most " if sizes.rows_at_most else ""
    if sizes.counts_updates:
        assert sizes.updates is not None
        steps = f"{sizes.updates:,} {step if sizes.updates == 1 else step + 's'}"
        if sizes.epochs is None:
            return f"{steps} over {data}"
        at_least = "at least " if sizes.rows_at_most else ""
        return f"{steps} = {at_least}{sizes.epochs:.1f} epochs of {data}"
    epochs = f"{sizes.epochs:g} {'epoch' if sizes.epochs == 1 else 'epochs'} of {data}"
    return epochs if sizes.updates is None else f"{epochs} = {at_most or 'about '}{sizes.updates:,} {step}s"
