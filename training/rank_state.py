"""The small file in which each rank says what it is doing: read by the runner, `status` and tests, on any machine."""

import json
import os
import time
from pathlib import Path
from typing import Any

HEARTBEAT_EVERY_S = 2.0


class RankState:
    """Keeps `<stage folder>/ranks/<rank>.json` current; writes are atomic and at most every two seconds."""

    def __init__(self, stage_folder: Path, rank: int):
        self.path = stage_folder / "ranks" / f"{rank}.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._state: dict[str, Any] = {"pid": os.getpid(), "phase": "starting", "outcome": None}
        self._written_at = 0.0
        self.update(force=True)

    def update(self, force: bool = False, **fields: Any) -> None:
        """Merge `fields` (phase, step, max_steps, metrics, eta_s, outcome, message) and write when it is time."""
        self._state.update(fields)
        now = time.time()
        if not force and now - self._written_at < HEARTBEAT_EVERY_S:
            return
        self._written_at = now
        self._state["heartbeat"] = now
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self._state, default=str))
        temporary.replace(self.path)

    def finish(self, outcome: str, message: str = "") -> None:
        """Write how this rank ended: done, failed, user_error, stopped or preempted."""
        self.update(force=True, outcome=outcome, message=message[:4000], phase="ended")


def read_rank_states(stage_folder: Path) -> list[dict[str, Any]]:
    """The states of all ranks that have written one, in rank order."""
    paths = sorted((stage_folder / "ranks").glob("*.json"), key=lambda path: int(path.stem))
    return [json.loads(path.read_text()) for path in paths]
