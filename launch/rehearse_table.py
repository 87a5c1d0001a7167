"""What a rehearsal showed: a table of the stages, what stood in for what, and what was not rehearsed."""

from collections.abc import Sequence

from launch.rehearse_acts import Act, Interruption
from launch.words import table
from training.plan import PlannedStage, RunPlan
from training.progress import duration
from training.record import read_record
from training.rehearsal_overrides import Replacement

_NOT = "not rehearsed: "


def rehearsal_text(plan: RunPlan, replaced: Sequence[Replacement], acts: Sequence[Act], seconds: float) -> str:
    """Return the text that ends a rehearsal."""
    interruptions = [act.interruption for act in acts if act.interruption is not None]
    rows = [_row(stage, acts, interruptions, replaced) for stage in plan.stages]
    lines = ["", table(["stage", "kind", "result", "seconds", "interrupted", "replaced"], rows)]
    lines += _whole_run(replaced)
    missing = [*_missing(replaced), *_not_shown(interruptions)]
    if missing:
        lines += ["", "Not rehearsed:", *(f"- {text}" for text in missing)]
    passed = acts[-1].code == 0
    verdict = "passed" if passed else f"FAILED with exit code {acts[-1].code}"
    lines += ["", f"Rehearsal {verdict} in {duration(seconds)}; its folder is {plan.run_dir}."]
    return "\n".join(lines)


def _row(
    stage: PlannedStage, acts: Sequence[Act], interruptions: Sequence[Interruption], replaced: Sequence[Replacement]
) -> list[str]:
    record = read_record(stage.folder)
    result = "ok" if record is not None else "FAILED" if stage.folder.is_dir() else "not reached"
    seconds = "-" if record is None else f"{record['ledger']['wall_s']:.1f}"
    own = [_interrupted(each) for each in interruptions if each.stage == stage.name]
    words = [each.words for each in replaced if each.owner == stage.name and each.words]
    return [
        stage.name,
        stage.kind,
        result,
        seconds,
        ", ".join(own) or "-",
        "; ".join(text for text in words if not text.startswith(_NOT)) or "-",
    ]


def _interrupted(interruption: Interruption) -> str:
    ended = "started again" if interruption.checkpoint is None else f"resumed from {interruption.checkpoint}"
    return f"{interruption.how}, {ended}"


def _whole_run(replaced: Sequence[Replacement]) -> list[str]:
    words = [each.words for each in replaced if each.owner == "runtime" and each.words]
    shown = [text for text in words if not text.startswith(_NOT)]
    return ["", "In the whole run:", *(f"- {text}" for text in shown)] if shown else []


def _missing(replaced: Sequence[Replacement]) -> list[str]:
    return [each.words.removeprefix(_NOT) for each in replaced if each.words and each.words.startswith(_NOT)]


def _not_shown(interruptions: Sequence[Interruption]) -> list[str]:
    if any(each.checkpoint is not None for each in interruptions):
        return []
    return ["a resume: no training stage could be interrupted between its first checkpoint and its end"]
