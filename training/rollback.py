"""Going back: an alarm with the policy rollback ends the ranks of a stage, and the runner starts them again.

Rank 0 removes every checkpoint that is sick already, writes down the intervention (`interventions.json` in the stage's
folder, which the record and the children's fingerprints take up) and keeps the round's completions beside it, since the
resumed run cuts samples.jsonl back. The learning rate of the next attempt is the intervention's.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from training.best_model import drop_best
from training.checkpoint import MANIFEST, committed, step_of
from training.interventions import INTERVENTIONS, interventions
from training.record import write_json
from training.world import World, gather


def roll_back(folder: Path, alarm: dict[str, Any], since: int, factor: float, learning_rate: float) -> dict[str, Any]:
    """Prepare the stage in `folder` to go on before step `since`, and return the intervention; rank 0 alone.

    Where an earlier rollback did not get past this step, it goes on from a checkpoint before that one's: the weights
    that the step was sick with would be the same again.
    """
    earlier = interventions(folder)
    since = min([since, *(one["to_step"] for one in earlier if one["step"] >= alarm["step"])])
    to_step = _keep_good(folder / "checkpoints", since)
    intervention = {
        "action": "rollback",
        "step": alarm["step"],
        "detector": alarm["detector"],
        "message": alarm["message"],
        "to_step": to_step,
        "learning_rate": learning_rate * factor,
        **_evidence(folder, alarm, len(earlier) + 1),
    }
    drop_best(folder)
    write_json(folder / INTERVENTIONS, [*earlier, intervention])
    return intervention


def _keep_good(checkpoints: Path, since: int) -> int:
    """Remove the checkpoints of `since` and later; return the step of the newest one left, 0 if there is none."""
    good = 0
    for path in committed(checkpoints):
        step = step_of(path)
        if step < since:
            good = step
        else:
            (path / MANIFEST).unlink()
            shutil.rmtree(path)
    return good


def _evidence(folder: Path, alarm: dict[str, Any], number: int) -> dict[str, Any]:
    """Keep the completions that the alarm names, which the resumed run draws anew."""
    if not alarm["samples"]:
        return {}
    name = f"rollback{number}.samples.jsonl"
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    (folder / name).write_text("".join(lines[place - 1] + "\n" for place in alarm["samples"]), encoding="utf-8")
    return {"samples": name}


def lowered_learning_rate(folder: Path, world: World) -> float | None:
    """The learning rate that the newest rollback set; None without one. A collective: every rank has rank 0's.

    Rank 0 wrote it; on a shared file system another node may see the file later.
    """
    found = [one["learning_rate"] for one in interventions(folder) if one["action"] == "rollback"]
    rate: float | None = gather(world, found[-1] if found else None)[0]
    return rate


class LowerLearningRate(TrainerCallback):
    """Puts a lowered learning rate into optimizer and scheduler, which a checkpoint restores with the old one.

    The ratio is taken from what they hold, so that a checkpoint written after the rollback is left as it is.
    """

    def __init__(self, trainer: Any):
        self.trainer = trainer

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Called after the checkpoint was read and before the first step."""
        scheduler = plain(self.trainer.lr_scheduler, "scheduler")
        held = scheduler.base_lrs[0]
        if not held or held == args.learning_rate:
            return
        ratio = args.learning_rate / held
        scheduler.base_lrs = [base * ratio for base in scheduler.base_lrs]
        scheduler._last_lr = [rate * ratio for rate in scheduler._last_lr]
        for group in self.trainer.optimizer.param_groups:
            group["lr"] *= ratio
            if "initial_lr" in group:
                group["initial_lr"] *= ratio


def lower_learning_rate(folder: Path, trainer: Any, world: World) -> list[LowerLearningRate]:
    """The callback that lowers it, in a stage that was rolled back. A collective."""
    return [] if lowered_learning_rate(folder, world) is None else [LowerLearningRate(trainer)]


def plain(wrapped: Any, name: str) -> Any:
    """What accelerate's wrappers hold under `name`, however many there are."""
    while hasattr(wrapped, name):
        wrapped = getattr(wrapped, name)
    return wrapped


def saved_samples(folder: Path) -> list[str]:
    """The files of completions that rollbacks kept."""
    return sorted(path.name for path in folder.glob("rollback*.samples.jsonl"))


def words(intervention: dict[str, Any]) -> str:
    """What was done, for the log."""
    where = f"the checkpoint of step {intervention['to_step']}" if intervention["to_step"] else "its start"
    return (
        f"rolled back from step {intervention['step']} to {where} with learning rate "
        f"{intervention['learning_rate']:.3g}: {json.dumps(intervention['message'], ensure_ascii=False)}"
    )
