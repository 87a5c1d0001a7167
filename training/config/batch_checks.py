"""Rules of batch sizes: what an optimizer step, a rank's micro-batch and a rollout round must divide."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import GrpoStage, TrainingStage
from training.config.trainer_fields import default

UNITS = {"pretrain": "packed rows", "sft": "rows", "dpo": "pairs", "grpo": "completions", "reward_model": "pairs"}
"""What batch_size counts, by kind."""


def micro_batches_divide_the_batch(pipeline: Pipeline) -> Iterator[Finding]:
    """batch_size is a whole number of steps of micro_batch_size on every rank."""
    processes = pipeline.runtime.processes
    for index, stage in enumerate(pipeline.stages):
        micro = pipeline.runtime.micro_batch(stage.kind) if isinstance(stage, TrainingStage) else 1
        if not isinstance(stage, TrainingStage) or stage.batch_size % (processes * micro) == 0:
            continue
        at: KeyPath = ("stages", index, "batch_size")
        unit = UNITS[stage.kind]
        if stage.batch_size % processes:
            sizes = _words(_near_multiples(stage.batch_size, processes * micro))
            yield at, f"does not divide over {processes} ranks; use {sizes} {unit}{_ranks(stage, processes, micro)}"
            continue
        divisors = _words(_divisors(stage.batch_size // processes))
        sizes = _words(_near_multiples(stage.batch_size, processes * micro))
        ranks = f"{processes} ranks x " if processes > 1 else ""
        yield (
            at,
            f"is not a multiple of {ranks}runtime.micro_batch_size {micro}; "
            f"use batch_size {sizes}, or micro_batch_size {divisors}",
        )


def _ranks(stage: TrainingStage, processes: int, micro: int) -> str:
    """The numbers of ranks just below and above that the batch divides over."""
    counts = [count for count in _divisors(stage.batch_size) if stage.batch_size % (count * micro) == 0]
    below = [count for count in counts if count < processes][-1:]
    near = below + [count for count in counts if count > processes][:1]
    return f", or runtime.processes {_words(near)}" if near else ""


def ranks_divide_over_the_nodes(pipeline: Pipeline) -> Iterator[Finding]:
    """Every node runs as many ranks as the others."""
    processes, nodes = pipeline.runtime.processes, pipeline.runtime.nodes
    if processes % nodes:
        yield ("runtime", "nodes"), f"does not divide processes {processes}; use {_words(_divisors(processes))}"


def completions_have_a_length(pipeline: Pipeline) -> Iterator[Finding]:
    """GRPO draws completions of a limited length."""
    for index, stage in enumerate(pipeline.stages):
        length = stage.trainer.get("max_completion_length", 1) if isinstance(stage, GrpoStage) else 1
        if length is None or (type(length) is int and length < 1):
            yield ("stages", index, "trainer", "max_completion_length"), "must be a whole number >= 1"


def groups_divide_the_batch_and_the_round(pipeline: Pipeline) -> Iterator[Finding]:
    """GRPO's num_generations divides batch_size and generation_batch_size, and a round is a whole number of steps."""
    for index, stage in enumerate(pipeline.stages):
        if isinstance(stage, GrpoStage):
            yield from _group_findings(stage, ("stages", index, "trainer"))


def _group_findings(stage: GrpoStage, at: KeyPath) -> Iterator[Finding]:
    group = stage.trainer.get("num_generations", default("grpo", "num_generations"))
    round_size = stage.trainer.get("generation_batch_size", stage.batch_size)
    if round_size is None:
        yield (*at, "generation_batch_size"), "must be a whole number, or not be written: it is batch_size then"
    if type(group) not in (int, type(None)) or type(round_size) is not int:
        return  # a value of the wrong kind has its own message
    if group is None or group < 2:
        yield (*at, "num_generations"), "a group needs at least 2 completions to compare"
    elif stage.batch_size % group:
        divisors = [size for size in _divisors(stage.batch_size) if size > 1]
        written = "" if "num_generations" in stage.trainer else f"{group} (TRL's default) "
        fix = f"use {_words(divisors)}" if divisors else f"use batch_size {group}"
        yield (*at, "num_generations"), f"{written}does not divide batch_size {stage.batch_size}; {fix}"
    elif round_size < 1 or round_size % stage.batch_size:
        sizes = _words([stage.batch_size * factor for factor in (1, 2, 4)])
        yield (*at, "generation_batch_size"), f"is not a multiple of batch_size {stage.batch_size}; use {sizes}"


def _divisors(number: int) -> list[int]:
    return [size for size in range(1, number + 1) if number % size == 0]


def _near_multiples(number: int, unit: int) -> list[int]:
    """The multiples of unit just below and above a number."""
    below = number // unit * unit
    return [size for size in (below, below + unit) if size > 0]


def _words(numbers: list[int]) -> str:
    texts = [str(number) for number in numbers]
    return texts[0] if len(texts) == 1 else ", ".join(texts[:-1]) + " or " + texts[-1]
