"""Rules of names that other rooms list: rewards with their parameters, and bundled models."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stages import GrpoStage, SampleStage
from training.config.suggest import nearest


def rewards_exist_and_take_their_parameters(pipeline: Pipeline) -> Iterator[Finding]:
    """Every reward is a shipped one, with parameters of its own."""
    from training.rewards import REWARDS

    for index, stage in enumerate(pipeline.stages):
        for position, spec in enumerate(stage.rewards if isinstance(stage, GrpoStage | SampleStage) else []):
            at: KeyPath = ("stages", index, "rewards", position)
            if spec.name not in REWARDS:
                shipped = ", ".join(sorted(REWARDS))
                yield at, f"there is no reward {spec.name}{nearest(spec.name, REWARDS)}; the rewards are {shipped}"
                continue
            known = REWARDS[spec.name].parameters
            for name in spec.params:
                if name not in known:
                    accepted = ", ".join(known) or "none"
                    hint = nearest(name, known)
                    yield (*at, name), f"is no parameter of the reward {spec.name}{hint}; accepted: {accepted}"


def bundled_models_are_shipped(pipeline: Pipeline) -> Iterator[Finding]:
    """`bundled:NAME` names a model that is pinned in training/bundled.py."""
    from training.bundled import BUNDLED

    scheme, colon, name = pipeline.model.partition(":")
    if colon and scheme == "bundled" and name not in BUNDLED:
        yield ("model",), f"is not shipped{nearest(name, BUNDLED)}; shipped: {', '.join(sorted(BUNDLED))}"
