"""The callback that asks the detectors after every optimizer step and does what their policies say.

Rank 0 judges, all ranks act alike. An alarm is told in the log, counted in `health/alarms` and written to alarms.jsonl
with the lines of samples.jsonl that show it: completions of the newest round, or the rows of the step. A warning is
told once, when it begins; stop and rollback act as long as the finding holds, so that repeating the command does not
walk past it. A stop saves a checkpoint first, so that other limits can go on from there; weights that are not finite
are not worth one.
"""

import math
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.alarms import ALARMS, said
from training.config.health import DetectorBlock
from training.context import StageContext
from training.detectors import DETECTORS, Finding
from training.interventions import interventions
from training.json_lines import Appender, whole_lines
from training.metrics import MetricsCallback, cut_back
from training.rollback import roll_back, words
from training.samples import RoundLog
from training.step_rows import StepRows
from training.stopped import RolledBack, Stopped
from training.world import gather

NAMED_ROWS = 8
"""Lines of samples.jsonl that an alarm names at most."""
_NOT_SAVED = "not_finite"
"""The detector whose stop leaves no checkpoint."""
_NOT_JUDGED = ("timing_s", "perf/", "time", "overlap_s")


class HealthCallback(TrainerCallback):
    """Stands behind MetricsCallback in the trainer's list of callbacks and reads the line it is about to write."""

    def __init__(self, context: StageContext, metrics: MetricsCallback, trained_on: RoundLog | StepRows):
        self.context, self.metrics, self.trained_on = context, metrics, trained_on
        self.health = context.stage.health
        self.limits: dict[str, DetectorBlock] = self.health.detectors
        self.path = context.folder / ALARMS
        self._file = Appender(self.path)
        self.history: list[dict[str, Any]] = []
        self._told: dict[str, int] = {}  # detector -> the step it was last told at
        self._ending: str | None = None  # what ends the run once its checkpoint is committed

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read what the run has logged up to its checkpoint, MetricsCallback has cut the rest off; raises Stopped where
        the checkpoint is a stop's and the finding still holds."""
        held = None
        if self.context.world.is_main:
            cut_back(self.path, state.global_step)
            self.history = [judged(row, args.fp16) for row in whole_lines(self.metrics.path)]
            held = self._held_stop(state.global_step)
        ending = gather(self.context.world, held)[0]
        if ending is not None:
            raise Stopped(ending)

    def _held_stop(self, step: int) -> str | None:
        """The stop that this checkpoint was saved by, if the limits and policies of now say the same."""
        for alarm in whole_lines(self.path):
            name = alarm["detector"]
            block = self.limits.get(name)
            if (alarm["step"], alarm["policy"]) != (step, "stop") or block is None or block.policy != "stop":
                continue
            if DETECTORS[name].find(self.history, block) is not None:
                return f"{said(alarm)}; to go on from here, change the detector's policy or its limits"
        return None

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Judge the step as far as it is logged: its training metrics, then its evaluation if it has one."""
        pending = self.metrics.pending
        if not pending or self._ending is not None:
            return
        verdict = self._verdict(pending, args) if self.context.world.is_main else None
        alarms, ending, kind = gather(self.context.world, verdict)[0]
        if alarms is not None:
            pending["health/alarms"] = alarms
        if ending is None:
            return
        if kind == "save":
            self._ending = ending
            control.should_save = control.should_training_stop = True
            return
        self.metrics.write()
        raise RolledBack(ending) if kind == "rollback" else Stopped(ending)

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """The checkpoint of a stop is committed on all ranks."""
        if self._ending is not None:
            raise Stopped(self._ending)

    def _verdict(self, pending: dict[str, Any], args: TrainingArguments) -> tuple[int, str | None, str]:
        """(detectors in alarm, what ends the run or None, how: stop, save (and stop) or rollback)."""
        row = judged(pending, args.fp16)
        if self.history and self.history[-1]["step"] == row["step"]:
            self.history.pop()
        self.history.append(row)
        found = {name: DETECTORS[name].find(self.history, block) for name, block in self.limits.items()}
        alarms = {name: finding for name, finding in found.items() if finding is not None}
        for name, finding in alarms.items():
            policy = self.limits[name].policy
            if policy == "warn" and (self._told.get(name) == row["step"] or self._held_before(name)):
                continue
            self._told[name] = row["step"]
            alarm = self._tell(name, finding, policy, row["step"])
            if policy == "stop":
                return len(alarms), said(alarm), "stop" if name == _NOT_SAVED else "save"
            if policy == "rollback":
                return len(alarms), *self._rollback(alarm, finding, args)
        return len(alarms), None, ""

    def _held_before(self, name: str) -> bool:
        """Whether the alarm began at an earlier step, where it was told."""
        before = self.history[:-1]
        return bool(before) and DETECTORS[name].find(before, self.limits[name]) is not None

    def _tell(self, name: str, finding: Finding, policy: str, step: int) -> dict[str, Any]:
        samples = self.trained_on.lines(DETECTORS[name].rows)[:NAMED_ROWS]
        alarm = {"step": step, "detector": name, "policy": policy, "message": finding.message, "samples": samples}
        self._file.add(alarm)
        self.context.tracker.alert(f"{self.context.planned.name}: {name}", said(alarm))
        if policy == "warn":
            self.context.say(f"warning: {said(alarm)}")
        return alarm

    def _rollback(self, alarm: dict[str, Any], finding: Finding, args: TrainingArguments) -> tuple[str, str]:
        done = len(interventions(self.context.folder))
        if done >= self.health.max_rollbacks:
            return f"{said(alarm)}; {done} rollbacks did not cure it (max_rollbacks)", "stop"
        factor = self.health.learning_rate_factor
        made = roll_back(self.context.folder, alarm, finding.since, factor, args.learning_rate)
        return words(made), "rollback"


def judged(row: dict[str, Any], fp16: bool) -> dict[str, Any]:
    """A line of metrics.jsonl without what a clock measured.

    Under float16 the loss scaler tries scales that overflow, and skips their steps: such a gradient norm says nothing.
    """
    overflowed = fp16 and not math.isfinite(row.get("grad_norm") or 0.0)
    left_out = (*_NOT_JUDGED, "grad_norm") if overflowed else _NOT_JUDGED
    return {name: value for name, value in row.items() if not name.startswith(left_out)}
