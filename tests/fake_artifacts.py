"""Records of stages that never ran, for tests of what reads records."""

from pathlib import Path

from training.identity import file_sha256
from training.plan import PlannedStage, RunPlan
from training.record import SCHEMA_VERSION, write_record


def finish(plan: RunPlan, stage: PlannedStage, finished_at: str = "2026-11-22T04:40:00+00:00", **more: object) -> Path:
    """Leave the artifact of a planned stage: one small file and a record that verifies."""
    model = stage.folder / "model"
    model.mkdir(parents=True)
    (model / "weights.txt").write_text(f"weights of {stage.name}")
    parents = [
        {"stage": name, "fingerprint": plan[name].fingerprint, "folder": plan[name].folder.name}
        for name in stage.parents
    ]
    record = {
        "schema_version": SCHEMA_VERSION,
        "kind": stage.kind,
        "stage": stage.name,
        "pipeline": plan.run_dir.name,
        "fingerprint": stage.fingerprint,
        "parents": parents,
        "identity": stage.identity,
        "files": {"model/weights.txt": file_sha256(model / "weights.txt")},
        "metrics": {},
        "finished_at": finished_at,
        **more,
    }
    return write_record(stage.folder, record)


def finish_all(plan: RunPlan) -> None:
    """Leave the artifacts of every stage that has none."""
    for stage in plan.stages:
        if stage.state != "done":
            finish(plan, stage)
