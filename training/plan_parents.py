"""What a stage descends from, and which stages choose the model they leave: read off the config, nothing is opened."""

from training.config import MergeStage, Pipeline, Stage
from training.config.probe import Probe
from training.config.stage_base import DIFFERENCE_METHODS
from training.config.stages import ModelStage
from training.plan_sample import drawn_from_parent, scoring_stages


def parent_names(stage: Stage) -> list[str]:
    """Return the names of a stage's parents: its model, the stages its data comes from, those that score its draws.

    A sample stage with a teacher has no model of the pipeline among them; a merge has several, and its base last.
    """
    if isinstance(stage, MergeStage):
        return list(dict.fromkeys([*stage.from_, *merge_base(stage)]))
    block = getattr(stage, "data", None)
    model = [stage.parent] if drawn_from_parent(stage) else []
    from_data = [] if block is None else block.stages
    return list(dict.fromkeys([*model, *from_data, *scoring_stages(stage)]))


def merge_base(stage: MergeStage) -> list[str]:
    """Return the model that a merge takes differences from, as a list: empty for methods that need none."""
    return [stage.base or "base"] if stage.method in DIFFERENCE_METHODS else []


def ancestors(pipeline: Pipeline, name: str) -> set[str]:
    """Return the names of the stage `name` and of all it descends from, what its data came from included."""
    stages = {stage.name: stage for stage in pipeline.stages}
    found: set[str] = set()
    left = [name]
    while left:
        name = left.pop()
        if name in stages and name not in found:  # the base is no stage of the config
            found.add(name)
            left += parent_names(stages[name])
    return found


def choosing_probes(pipeline: Pipeline) -> list[tuple[str, str, Probe]]:
    """Return (stage, suite, probe) of each stage that leaves the model of its best probe (`probe.keep_best`)."""
    stages = [stage for stage in pipeline.stages if isinstance(stage, ModelStage)]
    probes = [(stage.name, stage.probe) for stage in stages if stage.probe is not None]
    return [(name, probe.keep_best, probe) for name, probe in probes if probe.keep_best is not None]
