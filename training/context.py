"""What a stage's process knows about itself: the pipeline, its place in the plan, its parents, its rank."""

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data.errors import UserError
from training.ledger import Ledger
from training.pins import Pins
from training.rank_state import RankState
from training.record import read_record
from training.stop_signals import StopSignals
from training.tracker import NullTracker, Tracker
from training.world import World

if TYPE_CHECKING:
    from training.config import Pipeline
    from training.plan import PlannedStage, RunPlan


TEACHER = "teacher"
"""In the folder of a sample stage with a teacher: a link to the teacher's weights and tokenizer."""


@dataclass
class StageContext:
    """Handed to every stage's `run`; nothing in it changes but the ledger and the rank's state file."""

    pipeline: "Pipeline"
    plan: "RunPlan"
    planned: "PlannedStage"
    run_dir: Path
    world: World
    ledger: Ledger = field(default_factory=Ledger)
    started_at: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    started: float = field(default_factory=time.monotonic)
    started_unix: float = field(default_factory=time.time)
    training_parent: Path = Path()  # the parent's plain weights, set by training.train before a trainer is built

    stop: StopSignals = field(default_factory=StopSignals)
    tracker: Tracker = field(default_factory=NullTracker)  # of rank 0 while the stage runs (training.tracked_stage)

    def __post_init__(self) -> None:
        self.state = RankState(self.folder, self.world.rank)
        self.ledger.on_change = self.state.enter

    @property
    def stage(self) -> Any:
        """The stage's block of the config; None for the base."""
        return self.planned.stage

    @property
    def folder(self) -> Path:
        """The stage's own folder."""
        return self.planned.folder

    @property
    def seed(self) -> int:
        """The seed of everything random in this stage."""
        own = self.stage.seed if self.stage is not None else None
        return self.pipeline.seed if own is None else own

    @property
    def system(self) -> str | None:
        """The system message put first in every prompt, or None for the template's own."""
        return self.stage.system if self.stage.system is not None else self.pipeline.system

    @property
    def chat_template(self) -> str | None:
        """A template that replaces the tokenizer's own; None keeps what the parent's folder has.

        The base's folder is a link to files that are not ours: what the pipeline's `chat_template` puts in the place of
        theirs holds for every stage that starts from it, and lies in the folders of the models they leave.
        """
        if self.stage is not None and self.stage.chat_template is not None:
            return str(self.stage.chat_template)
        from_base = self.stage is None or (self.teacher is None and self.parent_name == "base")
        return self.pipeline.chat_template if from_base else None

    def pin(self, reference: str) -> str:
        """The commit of a hub data set, as the run resolved it before its first stage."""
        return Pins(self.plan.pins, self.pipeline.offline).dataset(reference)

    def folder_of(self, name: str) -> Path:
        """The folder of an earlier stage."""
        return next(planned.folder for planned in self.plan.stages if planned.name == name)

    def record_of(self, name: str) -> dict[str, Any]:
        """The record of an earlier stage; UserError if that stage has not finished."""
        record = read_record(self.folder_of(name))
        if record is None:
            raise UserError(
                f"stage {self.planned.name} needs {name}, which has not finished; run the pipeline from the top"
            )
        return record

    @property
    def teacher(self) -> str | None:
        """The model outside the pipeline that a sample stage draws from in place of its parent, as the config says."""
        return getattr(self.stage, "model", None)

    @property
    def parent_name(self) -> str:
        """The stage whose model this one starts from."""
        return self.planned.parents[0]

    @property
    def parent_model(self) -> Path:
        """The folder with the weights and tokenizer of the parent, or of the teacher in its place."""
        if self.teacher is not None:
            return self.folder / TEACHER
        return self.folder_of(self.parent_name) / "model"

    def say(self, line: str) -> None:
        """Print one line on rank 0."""
        if self.world.is_main:
            print(f"{self.planned.name}  {line}", flush=True)


@dataclass
class StageResult:
    """What a stage adds to its record; `files` are hashed and everything is written by `training.run_stage`."""

    metrics: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] | None = None
    rewards: list[dict[str, Any]] = field(default_factory=list)
    tokenizer_facts: dict[str, Any] = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    preempted: bool = False
    kept_probe: dict[str, Any] | None = None
    """Suite, step and accuracy of the probe whose model is left in place of the last step's."""
