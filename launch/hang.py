"""The hang doctor: no rank gets on any more, so say which one is not where the others are, and end the run.

It reads the ranks' state files, on every node alike, and goes by when `progress` last changed by its own clock: hosts'
clocks differ. All ranks must be still, since a rank may well wait for slower ones; a rank that hangs stops the others
at their next collective. Each node asks its own ranks for their stacks and reads those of all.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launch.ranks import Rank
from launch.ranks_end import Halt
from training.exit_codes import STOPPED
from training.progress import duration
from training.rank_state import read_rank_state
from training.stacks import STACKS_SIGNAL, main_thread, stacks_path

PATIENCE = {"starting": 8, "save": 8, "reward": 8, "generate": 4, "checkpoint": 4, "evaluate": 4}
"""What may rightly take long without a unit of work finished in between gets so many times the limit."""
LOOK_EVERY_S = 2.0
STACKS_WITHIN_S = 10.0
SHOWN_FRAMES = 3
WAITING_IN = ("torch/distributed/", "torch/autograd/graph.py", "deepspeed/comm/", "deepspeed/utils/")
"""Where a rank's innermost frame is while it waits for others: a collective of its own, or DDP's inside backward."""


@dataclass(frozen=True)
class RankView:
    """One rank as the doctor sees it: `still_s` is how long it has not got on, `frames` its main thread's, innermost
    first (empty where it did not answer)."""

    rank: int
    phase: str
    step: int | None
    still_s: float
    progress: int
    frames: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """What it does, as people say it: "forward_backward at step 3"."""
        return self.phase if self.step is None else f"{self.phase} at step {self.step}"

    @property
    def waits(self) -> bool:
        """Whether it waits for other ranks."""
        return bool(self.frames) and any(part in self.frames[0] for part in WAITING_IN)


class HangDoctor:
    """A watch over all ranks of a stage that ends them once none has got on for `limit_s` seconds."""

    def __init__(self, stage_folder: Path, processes: int, limit_s: float) -> None:
        self._folder, self._processes, self._limit_s = stage_folder, processes, limit_s
        self._clock: Callable[[], float] = time.monotonic
        self._next_look = self._clock()
        self._seen: dict[int, tuple[Any, float]] = {}

    def __call__(self, ranks: Sequence[Rank]) -> Halt | None:
        """Look every two seconds, more often where the limit is short."""
        now = self._clock()
        if now < self._next_look:
            return None
        self._next_look = now + min(LOOK_EVERY_S, self._limit_s / 4)
        views = self.views(now)
        if not views or min(view.still_s for view in views) < self._patience(views):
            return None
        self._ask_for_stacks(ranks, views)
        return Halt(STOPPED, self._message([self._with_frames(view) for view in views]))

    def views(self, now: float) -> list[RankView]:
        """Return every rank that has not ended; one that has written nothing yet is starting."""
        views = []
        for rank in range(self._processes):
            state = read_rank_state(self._folder, rank) or {"phase": "starting", "progress": -1}
            if state.get("outcome") is not None:
                continue
            mark = (state.get("pid"), state["progress"])
            if self._seen.get(rank, (None, 0.0))[0] != mark:
                self._seen[rank] = (mark, now)
            phase = state.get("activity") or state["phase"]
            views.append(RankView(rank, phase, state.get("step"), now - self._seen[rank][1], state["progress"]))
        return views

    def _patience(self, views: list[RankView]) -> float:
        return self._limit_s * max(PATIENCE.get(view.phase, 1) for view in views)

    def _ask_for_stacks(self, ranks: Sequence[Rank], views: list[RankView]) -> None:
        """Signal this node's ranks, and wait for what all have to say."""
        paths = {view.rank: stacks_path(self._folder, view.rank) for view in views}
        for rank in ranks:
            if rank.number in paths and paths[rank.number].exists():  # else it has no handler yet, and USR2 would kill
                rank.signal(STACKS_SIGNAL)
        deadline = self._clock() + STACKS_WITHIN_S
        sizes: list[int] = []
        while self._clock() < deadline:
            before, sizes = sizes, [path.stat().st_size if path.exists() else 0 for path in paths.values()]
            if all(sizes) and sizes == before:
                return
            time.sleep(0.2)

    def _with_frames(self, view: RankView) -> RankView:
        path = stacks_path(self._folder, view.rank)
        frames = main_thread(path.read_text()) if path.exists() else []
        return RankView(view.rank, view.phase, view.step, view.still_s, view.progress, tuple(frames))

    def _message(self, views: list[RankView]) -> str:
        still = duration(min(view.still_s for view in views))
        lines = [f"no rank has got on for {still} (runtime.stall_limit {self._limit_s:.0f} s); {diagnosis(views)}"]
        for view in views:
            where = " <- ".join(shortened(frame) for frame in view.frames[:SHOWN_FRAMES]) or "did not answer"
            lines.append(f"  rank {view.rank}  in {view.place} for {duration(view.still_s)}: {where}")
        return "\n".join([*lines, f"  all stacks: {self._folder / 'ranks'}{os.sep}*.stacks"])


def diagnosis(views: list[RankView]) -> str:
    """Name the odd ranks and where they are."""
    odd = odd_ranks(views)
    others = [view for view in views if view not in odd]
    if not odd or not others:
        return f"all are in {views[0].place}" if len({view.place for view in views}) == 1 else "each is elsewhere"
    places = ", ".join(dict.fromkeys(view.place for view in odd))
    elsewhere = ", ".join(dict.fromkeys(view.place for view in others))
    answer = "" if any(view.frames for view in odd) else ", and its process does not answer"
    return f"the odd one is {_named(odd)}, in {places}{answer}; {_named(others)} in {elsewhere}"


def odd_ranks(views: list[RankView]) -> list[RankView]:
    """Return the ranks that are not where the others are.

    By step and phase where a minority differs; with two ranks, or none in the minority, by who does not wait for others
    while another does; else by the innermost frame.
    """
    waiting = [view for view in views if view.waits]
    if waiting and len(waiting) < len(views):
        return [view for view in views if not view.waits]
    for key in (lambda view: view.place, lambda view: view.frames[:1]):
        common, count = Counter(map(key, views)).most_common(1)[0]
        if len(views) / 2 < count < len(views):
            return [view for view in views if key(view) != common]
    behind = min(view.progress for view in views)
    return [view for view in views if view.progress == behind] if _differ(views) else []


def _differ(views: list[RankView]) -> bool:
    return len({view.place for view in views}) > 1 and len({view.progress for view in views}) > 1


def _named(views: list[RankView]) -> str:
    numbers = [str(view.rank) for view in views]
    if len(numbers) == 1:
        return f"rank {numbers[0]}"
    shown = ", ".join(numbers[:8]) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")
    return f"ranks {shown}"


def shortened(frame: str) -> str:
    """Return a frame with its file's last two parts."""
    path, _, rest = frame.partition(":")
    return f"{'/'.join(Path(path).parts[-2:])}:{rest}"
