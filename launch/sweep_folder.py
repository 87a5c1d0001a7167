"""The folder of a sweep, `<runs_dir>/<name>/`: a run folder for each point, and one account of all, `sweep.json`.

Points are run folders of their own, so that several run at once. What an earlier point has finished already is brought
in as hard links when its fingerprint is the one asked for: it is trained once, costs no disk a second time, and each
run folder stays whole when another is removed (docs/adr/013).
"""

import errno
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data.errors import UserError
from training.config.sweep import LoadedSweep, SweepPoint
from training.pins import Pins, save_pins
from training.plan import BASE, RunPlan, plan_run
from training.record import read_json, read_record, write_json
from training.run_folder import RESOLVED_NAME, RunFolder

SWEEP_NAME = "sweep.json"
_FIX = "remove it, `posttrain sweep` writes it anew from the points' run folders, which it leaves as they are"
_NO_LINKS = (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK)


@dataclass
class PlannedPoint:
    """A point with its run folder and plan. The plan is that of the last look; `refresh` looks again."""

    point: SweepPoint
    run_dir: Path
    plan: RunPlan

    def refresh(self) -> None:
        """Plan again: other processes finish stages."""
        self.plan = plan_run(self.point.pipeline, self.run_dir)

    @property
    def missing(self) -> set[str]:
        """Fingerprints of the stages still to be made here. The base counts as none: it is a link, made in seconds."""
        return {stage.fingerprint for stage in self.plan.stages if stage.state != "done" and stage.kind != BASE}


class SweepFolder:
    """The folder of one sweep; it need not exist yet."""

    def __init__(self, sweep: LoadedSweep, path: Path | None = None) -> None:
        self.sweep = sweep
        runs_dir = Path(sweep.points[0].pipeline.runtime.runs_dir)
        self.path = path if path is not None else runs_dir / sweep.name
        if (self.path / RESOLVED_NAME).exists():
            raise UserError(f"{self.path} is the folder of a run; give the sweep another name")
        known = self.read()
        if known is not None and known["name"] != sweep.name:
            raise UserError(f"{self.path} belongs to the sweep {known['name']!r}; give this one another name")

    def read(self) -> dict[str, object] | None:
        """Return what `sweep.json` holds, or None before it is written."""
        path = self.path / SWEEP_NAME
        if not path.is_file():
            return None
        content = read_json(path, _FIX)
        if "name" not in content:
            raise UserError(f"{path} names no sweep; {_FIX}")
        return content

    def write(self, content: dict[str, object]) -> None:
        """Write `sweep.json`."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / SWEEP_NAME, content)

    def log_path(self, point: SweepPoint) -> Path:
        """Where the output of a point's run is kept."""
        return self.path / "logs" / f"{point.name}.log"

    def plan(self) -> list[PlannedPoint]:
        """Plan every point. A hub branch is looked up once and pinned for all points, in the sweep's own pins.json."""
        pins = Pins.load(self.path, offline=True).resolved
        planned = []
        for point in self.sweep.points:
            run = RunFolder(self.path / point.name)
            run.check(point.pipeline.name)
            if pins:
                run.path.mkdir(parents=True, exist_ok=True)
                save_pins(run.path, {**pins, **Pins.load(run.path, offline=True).resolved})
            plan = plan_run(point.pipeline, run.path)
            pins = {**pins, **plan.pins}
            planned.append(PlannedPoint(point, run.path, plan))
        if pins:
            self.path.mkdir(parents=True, exist_ok=True)
            save_pins(self.path, pins)
        return planned


def bring_in(mine: PlannedPoint, others: Sequence[PlannedPoint], config_path: Path) -> dict[str, str]:
    """Link the stages that another point has finished into this one's folder; returns point by stage name.

    `config_path` is the base pipeline's, which a run folder with artifacts has to name.
    """
    brought = {}
    for stage in mine.plan.stages:
        if stage.state == "done":
            continue
        for other in others:
            source = RunFolder(other.run_dir).find(stage.name, stage.fingerprint)
            if other is not mine and source is not None and read_record(source) is not None:
                _describe(mine, config_path)
                link_folder(source, mine.run_dir / source.name)
                brought[stage.name] = other.point.name
                break
    if brought:
        mine.refresh()
    return brought


def _describe(mine: PlannedPoint, config_path: Path) -> None:
    """Write which pipeline the folder belongs to, as `posttrain run` does before its first stage."""
    point, plan, folder = mine.point, mine.plan, RunFolder(mine.run_dir)
    if not folder.resolved_path.is_file():
        folder.write_resolved(point.pipeline, config_path, point.overrides, plan.fingerprints, plan.folders)


def link_folder(source: Path, target: Path) -> None:
    """Make `target` a folder of hard links to an artifact's files: whole at once or not there at all.

    A folder that stands there without a record (an interrupted start of the same stage) gives way.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = target.with_name(f".{target.name}.{os.getpid()}.linking")
    shutil.copytree(source, scratch, symlinks=True, copy_function=_link)
    if target.exists():
        shutil.rmtree(target)
    scratch.rename(target)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy2(source, target)  # a file system without hard links: the same bytes, at the price of disk


def waves(points: Sequence[PlannedPoint]) -> list[list[int]]:
    """Return indices of points in rounds: what a round shares with an earlier one is finished before it starts.

    For a queue whose members cannot look at each other while they wait (a Slurm array). The first point that needs an
    unfinished stage makes it; a later point that needs it stands in a later round.
    """
    maker_round: dict[str, int] = {}
    rounds: list[list[int]] = []
    for position, planned in enumerate(points):
        known = [maker_round[each] for each in planned.missing if each in maker_round]
        mine = max(known, default=-1) + 1
        for each in planned.missing:
            maker_round.setdefault(each, mine)
        if planned.missing:
            rounds += [[] for _ in range(mine + 1 - len(rounds))]
            rounds[mine].append(position)
    return rounds
