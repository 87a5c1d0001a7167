"""Which model each stage works with, by its shape: its parent, the teacher that draws, the reward model that scores."""

from collections import defaultdict
from collections.abc import Mapping

from data.errors import UserError
from training.config import Pipeline, SampleStage, Stage, SurgeryStage
from training.config.scorers import stage_named
from training.estimate.known_models import find_config
from training.estimate.parameters import count
from training.estimate.shape import Shape, shape_of
from training.estimate.workloads import CannotEstimate
from training.surgery.lineage import configs_of


def stage_shapes(pipeline: Pipeline, base: Shape) -> dict[str, Shape]:
    """Return the shape of each model by the stage that leaves it; one that cannot be told counts as the base's."""
    if not any(isinstance(stage, SurgeryStage) for stage in pipeline.stages):
        return defaultdict(lambda: base)
    shapes = {name: config for name, config in configs_of(pipeline).items() if not isinstance(config, str)}
    return defaultdict(lambda: base, {name: shape_of(config) for name, config in shapes.items()})


def scoring_parameters(pipeline: Pipeline, stage: Stage, shapes: Mapping[str, Shape]) -> int:
    """Return the parameters of a stage's reward model, without its head of one output; 0 where it has none.

    CannotEstimate where its config is not known here.
    """
    block = getattr(stage, "reward_model", None)
    if block is None:
        return 0
    name = stage_named(block.model)
    if name is not None:
        parent = next(other.parent for other in pipeline.stages if other.name == name)
        shape = shapes[parent or "base"]
    else:
        shape = known_shape(block.model)
    parameters = count(shape)
    return parameters.total - parameters.lm_head


def teacher_shape(stage: Stage) -> Shape | None:
    """Return the shape of the model outside the pipeline that a sample stage draws from; None where there is none."""
    if not isinstance(stage, SampleStage) or stage.model is None:
        return None
    return known_shape(stage.model)


def known_shape(model: str) -> Shape:
    """Return the shape of a model outside the pipeline; CannotEstimate where its config is not known here."""
    try:
        return shape_of(find_config(model))
    except UserError as error:
        raise CannotEstimate(str(error)) from error
