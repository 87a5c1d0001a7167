"""The smallest change of a config that makes every stage fit: tried one by one, then together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from training.estimate.estimate import fits_on
from training.estimate.hardware import Device
from training.estimate.memory import memory
from training.estimate.shape import Shape
from training.estimate.workload import Workload
from training.estimate.workloads import Job

MOST_RANKS = 4096


@dataclass(frozen=True)
class Change:
    """What is set anew; None leaves it. `decode_rows` is the batch_size of sample and evaluate stages."""

    micro_batch: int | None = None
    checkpointing: bool | None = None
    decode_rows: int | None = None
    zero_stage: int | None = None
    offload_optimizer: bool | None = None
    offload_parameters: bool | None = None
    ranks: int | None = None

    def applied(self, job: Job) -> Workload | None:
        """The workload after the change; None where its batch does not divide."""
        work = job.workload
        if not work.trains:
            return work if self.decode_rows is None else replace(work, generation_rows=self.decode_rows)
        assert job.algebra is not None
        micro, ranks = self.micro_batch or work.micro_batch, self.ranks or work.ranks
        if job.algebra.batch_size % (micro * ranks):
            return None
        changed = {
            key: value
            for key in ("checkpointing", "zero_stage", "offload_optimizer", "offload_parameters")
            if (value := getattr(self, key)) is not None
        }
        generation = min(work.generation_rows, max(1, job.algebra.round_size // ranks))
        return replace(
            work,
            micro_batch=micro,
            accumulation=job.algebra.batch_size // (micro * ranks),
            ranks=ranks,
            generation_rows=generation if work.kind == "grpo" else 0,
            contexts=None if work.contexts is None or self.checkpointing else min(work.contexts, micro),
            **changed,
        )

    def words(self) -> str:
        """The change as the keys to write."""
        parts = []
        if self.micro_batch is not None:
            parts.append(f"runtime.micro_batch_size={self.micro_batch}")
        if self.checkpointing:
            parts.append("trainer.gradient_checkpointing: true in the stages that switch it off")
        if self.decode_rows is not None:
            parts.append(f"batch_size {self.decode_rows} in evaluate and sample stages")
        if self.zero_stage is not None:
            parts.append(f"runtime.zero_stage={self.zero_stage}")
        if self.offload_optimizer:
            what = "optimizer and parameters" if self.offload_parameters else "optimizer"
            parts.append(f"{what} offloaded to the CPU (a runtime.deepspeed_config with offload_* device cpu)")
        if self.ranks is not None:
            parts.append(f"runtime.processes={self.ranks}")
        return " and ".join(parts)


def smallest_change(stages: Sequence[tuple[Shape, Job]], device: Device) -> Change | None:
    """Return the first change after which every job fits on `device` with its model's shape; None where none does."""
    jobs = [job for _, job in stages]
    for change in chain(_single(jobs, device), _together(jobs, device)):
        works = [(shape, change.applied(job)) for shape, job in stages]
        if all(work is not None and fits_on(memory(shape, work), device) for shape, work in works):
            return change
    return None


def _single(jobs: list[Job], device: Device) -> Iterator[Change]:
    training = [job.workload for job in jobs if job.workload.trains]
    if training:
        largest = max(work.micro_batch for work in training)
        yield from (Change(micro_batch=micro) for micro in _lower(largest))
        if not all(work.checkpointing for work in training):
            yield Change(checkpointing=True)
    yield from (Change(decode_rows=rows) for rows in _decode_rows(jobs))
    if not training or device.kind == "cpu":
        return
    stage, ranks = training[0].zero_stage, training[0].ranks
    if ranks > 1:
        yield from (Change(zero_stage=zero) for zero in range(stage + 1, 4))
    yield Change(zero_stage=max(stage, 2), offload_optimizer=True)
    yield Change(zero_stage=3, offload_optimizer=True, offload_parameters=True)
    if stage:
        yield from (Change(ranks=more) for more in _more(ranks))


def _together(jobs: list[Job], device: Device) -> Iterator[Change]:
    """Everything that costs little at once, then ZeRO, offloading or more ranks on top of it."""
    training = [job.workload for job in jobs if job.workload.trains]
    rows = min(_decode_rows(jobs), default=None)
    least = Change(1, True, None) if training else Change()
    for base in (least, replace(least, decode_rows=rows)):
        yield base
        if not training or device.kind == "cpu":
            continue
        stage, ranks = training[0].zero_stage, training[0].ranks
        if ranks > 1:
            yield from (replace(base, zero_stage=zero) for zero in range(stage + 1, 4))
        yield replace(base, zero_stage=max(stage, 2), offload_optimizer=True)
        full = replace(base, zero_stage=3, offload_optimizer=True, offload_parameters=True)
        yield full
        yield from (replace(base, zero_stage=3, ranks=more) for more in _more(ranks))
        yield from (replace(full, ranks=more) for more in _more(ranks))


def _lower(micro: int) -> list[int]:
    return [size for size in range(micro - 1, 0, -1) if micro % size == 0]


def _decode_rows(jobs: list[Job]) -> list[int]:
    most = max((job.workload.generation_rows for job in jobs if not job.workload.trains), default=0)
    return [rows for rows in (32, 16, 8, 4, 2, 1) if rows < most]


def _more(ranks: int) -> Iterator[int]:
    while (ranks := ranks * 2) <= MOST_RANKS:
        yield ranks
