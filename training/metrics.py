"""The trainer callback that turns steps into metrics.jsonl, a progress line, a heartbeat and the tracker's points.

One line per optimizer step, flat: what the TRL trainer logs under its own names, the ledger under `timing_s/*` (mean
over ranks; `timing_s_max/*` when there are several), `perf/*`, and the slowest rank.
"""

import json
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.balance import Balance, OwnWork, step_balance
from training.json_lines import Appender, whole_lines
from training.ledger import Ledger, most_beside, time_engine
from training.progress import Progress
from training.rank_state import RankState
from training.record import flush
from training.saving import numel
from training.world import World, gather, peak_memory_gb

SHOWN = ("loss", "reward", "rewards/margins", "rewards/accuracies", "accuracy", "mean_token_accuracy")
PROBED = "probe/*/accuracy"
"""What a progress line and the rank's state show of a step, where the trainer logs it."""
TIMES_OF_EVALUATION = ("eval_runtime", "eval_samples_per_second", "eval_steps_per_second")
"""The ledger has the time (`timing_s/evaluate`)."""


class MetricsCallback(TrainerCallback):
    """Collects one record per optimizer step on every rank; rank 0 writes it."""

    def __init__(self, world: World, folder: Path, ledger: Ledger, state: RankState, progress: Progress, tracker: Any):
        self.world, self.ledger, self.rank_state, self.progress, self.tracker = world, ledger, state, progress, tracker
        self.path = folder / "metrics.jsonl"
        self._file = Appender(self.path)
        self.trainer: Any = None
        self.flops_per_token = 0.0
        self.peak_flops = 0.0
        self.pending: dict[str, Any] = {}
        self.own_work = OwnWork()
        self.balance = Balance()  # on rank 0
        self._tokens = self._rows = self._positions = 0

    def count(self, tokens: int, rows: int, positions: int) -> None:
        """Add a micro-batch's unpadded tokens, its rows and its positions, padding included, to the step under way."""
        self._tokens += tokens
        self._rows += rows
        self._positions += positions

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the ledger once the optimizer exists; on resume, cut metrics back to the checkpoint's step."""
        time_engine(self.ledger, self.trainer)
        if self.world.is_main:
            cut_back(self.path, state.global_step)
        rows = whole_lines(self.path) if self.world.is_main else []
        self.balance = Balance(rows)
        self.ledger.restore(gather(self.world, seconds_by_phase(rows))[0])
        self.ledger.overlap = gather(self.world, seconds_by_phase(rows, "overlap_s/"))[0]
        self.ledger.begin()
        self.progress.start(state.global_step, state.max_steps)

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer's phase begins."""
        self.ledger.enter("optimizer")

    def on_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """The optimizer's phase ends."""
        self.ledger.leave()

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Close the step's account over all ranks."""
        self.write()
        counts = {"tokens": self._tokens, "rows": self._rows, "positions": self._positions}
        timing = self.ledger.end_step()
        self.progress.note(timing)
        own = self.own_work.take()
        self.ledger.own_s += own
        overlap = self.ledger.take_overlap()
        mine = {"timing": timing, "overlap": overlap, "own": own, "gb": peak_memory_gb(), **counts}
        self._tokens = self._rows = self._positions = 0
        self.pending = {"step": state.global_step, "time": time.time(), **self._combine(gather(self.world, mine))}
        self.balance.note(self.pending)

    def _combine(self, ranks: list[dict[str, Any]]) -> dict[str, Any]:
        size = len(ranks)
        timings = [rank["timing"] for rank in ranks]
        record: dict[str, Any] = {f"timing_s/{name}": sum(t[name] for t in timings) / size for name in timings[0]}
        if size > 1:
            record |= {f"timing_s_min/{name}": min(t[name] for t in timings) for name in timings[0]}
            record |= {f"timing_s_max/{name}": max(t[name] for t in timings) for name in timings[0]}
            record |= step_balance([rank["own"] for rank in ranks])
        beside = most_beside([rank["overlap"] for rank in ranks])
        record |= {f"overlap_s/{name}": seconds for name, seconds in beside.items()}
        step_s = record["timing_s/step"]
        tokens, rows = sum(r["tokens"] for r in ranks), sum(r["rows"] for r in ranks)
        record["perf/tokens_per_s"] = tokens / step_s
        record["perf/samples_per_s"] = rows / step_s
        positions = sum(r["positions"] for r in ranks)
        record["perf/padding_share"] = 1 - tokens / positions if positions else 0.0
        record["perf/peak_memory_gb"] = sum(r["gb"] for r in ranks)
        if self.peak_flops:
            record["perf/mfu"] = self.flops_per_token * tokens / step_s / (self.peak_flops * size)
        return record

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        """Join what the trainer logs to the step it belongs to."""
        logs = logs or {}
        if "train_runtime" in logs or not self.pending:
            return
        self.pending |= {_metric_name(name): value for name, value in logs.items() if name not in TIMES_OF_EVALUATION}
        if "eval_loss" in logs:
            return  # the step itself is shown already
        shown = shown_metrics(self.pending)
        self.progress.step(state.global_step, shown, self.pending["perf/tokens_per_s"])
        self.rank_state.update(
            phase="train", step=state.global_step, max_steps=state.max_steps, **self._standing(shown)
        )

    def _standing(self, shown: dict[str, float]) -> dict[str, Any]:
        """What the rank's state says of a step, for whoever watches the run."""
        return {
            "metrics": shown,
            "tokens_per_s": self.pending["perf/tokens_per_s"],
            "eta_s": self.progress.eta,
            "own_s": round(self.ledger.own_s, 3),
            "balance": self.balance.facts(),
        }

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the last step."""
        self.write()

    def write(self) -> None:
        """Write the pending step's line, if there is one: at the next step's end, before a checkpoint, at the end."""
        if self.pending and self.world.is_main:
            self._file.add(self.pending)
            step = self.pending["step"]
            self.tracker.log({k: v for k, v in self.pending.items() if k not in ("step", "time")}, step)
        self.pending = {}


def seconds_by_phase(rows: list[dict[str, Any]], prefix: str = "timing_s/") -> dict[str, float]:
    """The seconds of each phase (mean over ranks), summed over lines of metrics.jsonl."""
    totals: dict[str, float] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith(prefix):
                phase = name.removeprefix(prefix)
                totals[phase] = totals.get(phase, 0.0) + value
    return totals


def shown_metrics(row: dict[str, Any]) -> dict[str, float]:
    """The few numbers of a step that people look for, under the names they have in metrics.jsonl."""
    names = [*SHOWN, *(name for name in row if fnmatchcase(name, PROBED))]
    return {name: row[name] for name in names if row.get(name) is not None}


def _metric_name(name: str) -> str:
    """TRL's names, with the two spellings that would clash with DESIGN's made ours."""
    if name.startswith("rewards/") and name.endswith("/mean"):
        return "reward/" + name.removeprefix("rewards/").removesuffix("/mean")
    return name


def cut_back(path: Path, step: int) -> None:
    """Drop the lines of a JSON-lines file that belong to steps after `step`, and a last line cut short by a crash."""
    if not path.is_file():
        return
    kept = []
    for line in path.read_bytes().split(b"\n"):
        if not line:
            continue
        try:
            row = json.loads(line)
        except ValueError:  # cut short, maybe inside a character, or zeros that a power cut left
            break
        if row["step"] <= step:
            kept.append(line + b"\n")
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(b"".join(kept))
    flush(temporary)
    temporary.replace(path)


def training_flops(trainer: Any) -> tuple[float, float]:
    """FLOP of a token's forward and backward pass, 6 a parameter, and FLOP/s of the device that trains.

    Taken before the first step, when DeepSpeed has not moved the weights to that device yet, and ZeRO-3 keeps empty
    placeholders of them.
    """
    per_token = 6.0 * sum(numel(parameter) for parameter in trainer.model.parameters())
    dtype = torch.bfloat16 if trainer.args.bf16 else torch.float32
    return per_token, measured_peak_flops(dtype, trainer.accelerator.device)


def measured_peak_flops(dtype: torch.dtype, device: torch.device) -> float:
    """FLOP/s of a 1024-cube matrix product on this rank, the denominator of `perf/mfu`; takes about 0.2 s on a CPU."""
    left, right = (torch.randn(1024, 1024, device=device, dtype=dtype) for _ in range(2))
    best = 0.0
    for _ in range(3):
        start = time.perf_counter()
        torch.matmul(left, right)
        if device.type == "cuda":
            torch.cuda.synchronize()
        best = max(best, 2 * 1024**3 / (time.perf_counter() - start))
    return best
