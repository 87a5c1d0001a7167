"""A torch profiler trace of chosen optimizer steps: `runtime.profile`, for when a step's phases do not say enough.

What it leaves in `<stage folder>/profile/` is no part of the artifact: it is in no fingerprint and no record. Profiling
makes the steps it looks at slower, and writing the trace falls into the step behind them, under `log`.
"""

from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.context import StageContext

FOLDER = "profile"
TOP = 20


class ProfileCallback(TrainerCallback):
    """Profiles from the end of the step before the first to the end of the last, so that fetching rows is seen."""

    def __init__(self, context: StageContext) -> None:
        assert context.pipeline.runtime.profile is not None
        self.context = context
        self.first, self.last = context.pipeline.runtime.profile.steps
        self._profiler: Any = None
        self._began = 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say so where no step, or not every step, will be seen; begin where the first is the next."""
        steps = f"runtime.profile.steps [{self.first}, {self.last}]"
        if self.first > state.max_steps:
            self.context.say(f"warning: {steps} lie beyond this stage's {state.max_steps} steps: nothing is profiled")
        elif self.last <= state.global_step:
            self.context.say(f"{steps} are done already: nothing is profiled from step {state.global_step + 1} on")
        elif self.last > state.max_steps:
            self.context.say(f"warning: {steps} go beyond this stage's {state.max_steps} steps: the last is the end")
        if self.first <= state.global_step + 1 <= min(self.last, state.max_steps):
            self._begin(state.global_step + 1)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Begin behind the step before the first, end behind the last."""
        if state.global_step == self.last:
            self._end(state.global_step)
        elif state.global_step == self.first - 1 and state.global_step < state.max_steps:
            self._begin(self.first)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Training has ended inside the steps asked for."""
        self._end(state.global_step)

    def _begin(self, step: int) -> None:
        import torch
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
        self._profiler, self._began = profile(activities=activities), step
        self._profiler.start()

    def _end(self, step: int) -> None:
        if self._profiler is None:
            return
        profiler, self._profiler = self._profiler, None
        with self.context.ledger.timing("log"):
            profiler.stop()
            folder = self.context.folder / FOLDER
            folder.mkdir(exist_ok=True)
            name = f"steps-{self._began}-{step}.rank{self.context.world.rank}"
            profiler.export_chrome_trace(str(folder / f"{name}.trace.json.gz"))
            (folder / f"{name}.top{TOP}.txt").write_text(top_table(profiler), encoding="utf-8")
        self.context.say(f"profile of steps {self._began} to {step}: {folder / name}.trace.json.gz, .top{TOP}.txt")


def top_table(profiler: Any) -> str:
    """The operators that took longest by themselves, on the accelerator where there is one."""
    averages = profiler.key_averages()
    on_device = any(event.self_device_time_total for event in averages)
    by = "self_device_time_total" if on_device else "self_cpu_time_total"
    return f"{averages.table(sort_by=by, row_limit=TOP, max_name_column_width=80)}\n"


def profile_hooks(context: StageContext) -> list[ProfileCallback]:
    """The callback of this rank, if it is to be profiled."""
    asked = context.pipeline.runtime.profile
    return [ProfileCallback(context)] if asked is not None and context.world.rank in asked.ranks else []
