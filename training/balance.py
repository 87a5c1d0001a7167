"""Stragglers: how long each rank worked by itself, which one worked longest, and by how much.

The phases of the ledger cannot tell: while one rank computes, the others wait for it in a collective, and their clocks
charge the wait to the same phase. So `OwnWork` counts what holds no collective: fetching rows, forward passes (those of
decoding too) and scoring. Under ZeRO-3 a forward pass gathers weights, and ranks look more alike than they are.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

IMBALANCE_WORTH_TELLING = 0.10
SHARE_WORTH_TELLING = 0.75
STEPS_WORTH_TELLING = 5


class OwnWork:
    """Seconds that this rank worked by itself since the last `take`; what lies inside other work counts once."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._depth = 0
        self._since = 0.0
        self._seconds = 0.0
        self._on_device: list[tuple[Any, Any]] = []
        self.scored: Callable[[], float] = lambda: 0.0  # seconds of scoring so far
        self._scored_before = 0.0

    def begin(self) -> None:
        """Work begins."""
        if self._depth == 0:
            self._since = self._clock()
        self._depth += 1

    def end(self) -> None:
        """Work ends."""
        self._depth -= 1
        if self._depth == 0:
            self._seconds += self._clock() - self._since

    def on_device(self, began: Any, ended: Any) -> None:
        """Work between two events of a device's queue, whose seconds are known once it has come to the second."""
        self._on_device.append((began, ended))

    def take(self) -> float:
        """The seconds since the last call."""
        seconds, self._seconds = self._seconds, 0.0
        for began, ended in self._on_device:
            ended.synchronize()
            seconds += began.elapsed_time(ended) / 1000
        self._on_device.clear()
        scored = self.scored()
        seconds, self._scored_before = seconds + scored - self._scored_before, scored
        return seconds


class _Timed:
    """An iterator that counts what its items take to come."""

    def __init__(self, inner: Iterator[Any], work: OwnWork) -> None:
        self._inner, self._work = inner, work

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        self._work.begin()
        try:
            return next(self._inner)
        finally:
            self._work.end()


def watch_own_work(trainer: Any) -> OwnWork:
    """Count the own work of a trainer's rank, by hooks on its model and the iterator of its batches; before `train`."""
    work = OwnWork()
    original = trainer.get_batch_samples

    def timed_samples(epoch_iterator: Iterator[Any], *rest: Any) -> Any:
        return original(_Timed(epoch_iterator, work), *rest)

    trainer.get_batch_samples = timed_samples
    on_cuda = trainer.accelerator.device.type == "cuda"  # under DeepSpeed the weights come there later
    (_time_on_device if on_cuda else _time_on_cpu)(trainer.model, work)
    scorer = getattr(trainer, "scorer", None)
    if scorer is not None:
        work.scored = lambda: float(scorer.seconds)
    return work


def _time_on_cpu(model: Any, work: OwnWork) -> None:
    model.register_forward_pre_hook(lambda *_: work.begin())
    model.register_forward_hook(lambda *_: work.end(), always_call=True)


def _time_on_device(model: Any, work: OwnWork) -> None:
    """A GPU's kernels run after the call that asked for them, so their seconds are taken from its own queue."""
    import torch

    began: list[Any] = []

    def before(*_: Any) -> None:
        began.append(torch.cuda.Event(enable_timing=True))
        began[-1].record()

    def after(*_: Any) -> None:
        ended = torch.cuda.Event(enable_timing=True)
        ended.record()
        work.on_device(began.pop(), ended)

    model.register_forward_pre_hook(before)
    model.register_forward_hook(after, always_call=True)


def step_balance(own_s: list[float]) -> dict[str, float]:
    """`rank/slowest` and `rank/imbalance` of one step from the own seconds of every rank; imbalance is by how much the
    slowest is above the mean, as a share of the mean."""
    mean = sum(own_s) / len(own_s)
    return {"rank/slowest": own_s.index(max(own_s)), "rank/imbalance": max(own_s) / mean - 1 if mean else 0.0}


class Balance:
    """Which rank was slowest over many steps, from the lines of metrics.jsonl."""

    def __init__(self, rows: Iterable[Mapping[str, Any]] = ()) -> None:
        self.steps = 0
        self._slowest: Counter[int] = Counter()
        self._imbalance = 0.0
        for row in rows:
            self.note(row)

    def note(self, row: Mapping[str, Any]) -> None:
        """Hear of a step; those of one rank, or without an imbalance, say nothing."""
        if "rank/imbalance" in row and "rank/slowest" in row:
            self.steps += 1
            self._slowest[int(row["rank/slowest"])] += 1
            self._imbalance += row["rank/imbalance"]

    def facts(self) -> dict[str, Any] | None:
        """The rank most often slowest, in how many of the steps, and the mean imbalance as a share; None before a
        step of several ranks."""
        if not self.steps:
            return None
        rank, count = self._slowest.most_common(1)[0]
        return {
            "slowest_rank": rank,
            "slowest_steps": count,
            "steps": self.steps,
            "imbalance": round(self._imbalance / self.steps, 4),
        }


def balance_words(facts: Mapping[str, Any], host: str | None = None) -> str:
    """`rank 1 (node2) was slowest in 38 of 40 steps; imbalance 23 %`."""
    where = f" ({host})" if host else ""
    return (
        f"rank {facts['slowest_rank']}{where} was slowest in {facts['slowest_steps']} of {facts['steps']} steps; "
        f"imbalance {100 * facts['imbalance']:.0f} %"
    )


def is_straggling(facts: Mapping[str, Any] | None) -> bool:
    """Whether one rank is slow often and much enough to say so unasked."""
    return (
        facts is not None
        and facts["steps"] >= STEPS_WORTH_TELLING
        and facts["slowest_steps"] >= SHARE_WORTH_TELLING * facts["steps"]
        and facts["imbalance"] >= IMBALANCE_WORTH_TELLING
    )
