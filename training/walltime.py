"""When a run must have ended, and whether there is time for one more step and a checkpoint until then."""

import json
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path

END_TIME_VARIABLE = "POSTTRAIN_END_TIME"
SAFETY = 1.5
"""Steps and checkpoints may take so much longer than the longest so far."""
SLACK_S = 10.0
FIRST_SAVE_S = 60.0
"""What a checkpoint is taken to cost before one was measured."""
RECENT_STEPS = 50


def end_time(walltime: int | None, started: float, environment: Mapping[str, str]) -> float | None:
    """Return the earliest of: what the runner says, the end of the Slurm job, `walltime` seconds after `started`.

    All are seconds since 1970; None if nothing ends the run.
    """
    ends = [float(environment[name]) for name in (END_TIME_VARIABLE, "SLURM_JOB_END_TIME") if environment.get(name)]
    if walltime is not None and END_TIME_VARIABLE not in environment:
        ends.append(started + walltime)
    return min(ends, default=None)


class Deadline:
    """Weighs what is left against the longest recent step and the longest checkpoint so far, in seconds."""

    def __init__(self, end: float | None, longest_save_s: float | None = None, draws_ahead: bool = False) -> None:
        """`draws_ahead`: a checkpoint first waits for a rollout, which takes about as long as a step at most."""
        self.end = end
        self._steps_to_come = 2 if draws_ahead else 1
        self._save_s = longest_save_s
        self._steps: deque[float] = deque(maxlen=RECENT_STEPS)

    def step_took(self, seconds: float) -> None:
        """Hear of a step."""
        self._steps.append(seconds)

    def save_took(self, seconds: float) -> None:
        """Hear of a checkpoint."""
        self._save_s = max(seconds, self._save_s or 0.0)

    @property
    def needed_s(self) -> float:
        """Seconds to keep for another step and the checkpoint after it."""
        save_s = FIRST_SAVE_S if self._save_s is None else SAFETY * self._save_s
        return self._steps_to_come * SAFETY * max(self._steps, default=0.0) + save_s + SLACK_S

    def is_near(self) -> bool:
        """Whether another step might leave no time for a checkpoint."""
        return self.end is not None and time.time() + self.needed_s >= self.end


def longest_save_s(metrics_path: Path) -> float | None:
    """The longest checkpoint that earlier attempts at this stage logged, or None."""
    if not metrics_path.is_file():
        return None
    found = 0.0
    for line in metrics_path.read_text(encoding="utf-8").split("\n"):
        try:
            row = json.loads(line)
        except json.JSONDecodeError:  # the last line of a killed run
            continue
        found = max(found, row.get("timing_s_max/checkpoint", row.get("timing_s/checkpoint", 0.0)))
    return found or None
