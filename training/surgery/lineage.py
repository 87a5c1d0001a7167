"""The `config.json` of every model of a pipeline, worked out from the base's before any of them exists."""

from typing import Any

from data.errors import UserError
from training.config.expand import with_parents
from training.config.stage_base import UpcycleStage, UpscaleStage
from training.config.stages import MODEL_KINDS
from training.surgery.configs import upcycled_config, upscaled_config

Config = dict[str, Any]


def configs_of(pipeline: Any) -> dict[str, Config | str]:
    """Return, by stage that leaves a model and for "base", its config, or why there is none ("key: reason").

    Stages need not be expanded yet. UserError where the base's config cannot be found on this machine.
    """
    from training.estimate.known_models import find_config

    found: dict[str, Config | str] = {"base": find_config(pipeline.model)}
    for stage, parent in with_parents(pipeline.stages):
        if stage.kind in MODEL_KINDS:
            found[stage.name] = _made(stage, found.get(parent, found["base"]))
    return found


def _made(stage: Any, parent: Config | str) -> Config | str:
    if isinstance(parent, str):
        return parent
    try:
        if isinstance(stage, UpscaleStage):
            return upscaled_config(parent, stage.drop_layers)
        if isinstance(stage, UpcycleStage):
            return upcycled_config(parent, stage)
    except UserError as error:
        return str(error)
    return parent
