"""Which stages somebody is working on right now, told from what their ranks say: a plan reads folders, and those of a
running stage look like those of one that was killed.
"""

import platform
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from launch.lock import STALE_AFTER_S
from training.plan import PlannedStage, RunPlan
from training.process_birth import process_birth
from training.rank_state import read_rank_states, state_path


def may_live(state: Mapping[str, Any], folder: Path, rank: int) -> bool:
    """Whether a rank without an outcome may be at work: its process on this host, the age of its file on another.

    A process that took the pid of a killed rank is not that rank; states of before 2026-11-23 lack `born`.
    """
    if state.get("outcome") is not None:
        return False
    if state.get("host") == platform.node():
        born = process_birth(int(state["pid"]))
        return born is not None and born == state.get("born", born)
    try:
        return time.time() - state_path(folder, rank).stat().st_mtime < STALE_AFTER_S
    except OSError:
        return False


def with_running_stages(plan: RunPlan) -> RunPlan:
    """Return the plan with the state and reason of the stages that run now; a plan made by their runner needs none."""
    return replace(plan, stages=[_running(stage) or stage for stage in plan.stages])


def _running(stage: PlannedStage) -> PlannedStage | None:
    if stage.state != "interrupted":
        return None
    states = read_rank_states(stage.folder)
    living = next((state for rank, state in enumerate(states) if may_live(state, stage.folder, rank)), None)
    if living is None:
        return None
    where = str(living.get("phase") or "")
    if living.get("max_steps"):
        where = f"step {living.get('step') or 0} of {living['max_steps']}"
    who = f"process {living['pid']} on {living['host']}"
    return replace(stage, state="running", reason=f"running: {where}, {who}")
