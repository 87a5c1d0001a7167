"""The rule of `runtime.profile` that needs the stages."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.pipeline import Pipeline
from training.config.stages import TrainingStage


def some_stage_has_the_profiled_steps(pipeline: Pipeline) -> Iterator[Finding]:
    """Where every training stage says its `max_steps`, one of them reaches the first step that is to be profiled."""
    profile = pipeline.runtime.profile
    stages = [stage for stage in pipeline.stages if isinstance(stage, TrainingStage)]
    steps = {stage.name: stage.trainer.get("max_steps") or -1 for stage in stages}
    if profile is None or min(steps.values(), default=0) < 0:
        return
    longest = max(steps.values(), default=0)
    if longest < profile.steps[0]:
        known = ", ".join(f"{name} {count}" for name, count in steps.items()) or "there is no training stage"
        yield (
            ("runtime", "profile", "steps"),
            f"lie beyond every stage ({known} steps); choose steps from 1 to {longest}" if longest else f"{known}",
        )
