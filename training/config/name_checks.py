"""Rules of names that other rooms list: rewards with their parameters, and bundled models."""

from __future__ import annotations

from collections.abc import Iterator

from data.errors import UserError
from data.own_functions import source_file
from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.stage_parts import RewardSpec
from training.config.stages import GrpoStage, SampleStage
from training.config.suggest import nearest


def rewards_exist_and_take_their_parameters(pipeline: Pipeline) -> Iterator[Finding]:
    """Every reward is a shipped one, with parameters of its own, or a function of the user that can be found."""
    for index, stage in enumerate(pipeline.stages):
        for position, spec in enumerate(stage.rewards if isinstance(stage, GrpoStage | SampleStage) else []):
            yield from _reward_findings(("stages", index, "rewards", position), spec)


def bundled_models_are_shipped(pipeline: Pipeline) -> Iterator[Finding]:
    """`bundled:NAME` names a model that is pinned in training/bundled.py."""
    from training.bundled import BUNDLED

    scheme, colon, name = pipeline.model.partition(":")
    if colon and scheme == "bundled" and name not in BUNDLED:
        yield ("model",), f"is not shipped{nearest(name, BUNDLED)}; shipped: {', '.join(sorted(BUNDLED))}"


def _reward_findings(at: KeyPath, spec: RewardSpec) -> Iterator[Finding]:
    from training.rewards import REWARDS

    if spec.callable is not None:
        yield from _callable_findings(at, spec)
        return
    if spec.name not in REWARDS:
        shipped = ", ".join(sorted(REWARDS))
        yield at, f"there is no reward {spec.name}{nearest(spec.name, REWARDS)}; the rewards are {shipped}"
        return
    reward = REWARDS[spec.name]
    unknown = [name for name in spec.params if name not in reward.parameters]
    for name in unknown:
        accepted = ", ".join(reward.parameters) or "none"
        hint = nearest(name, reward.parameters)
        yield (*at, name), f"is no parameter of the reward {spec.name}{hint}; accepted: {accepted}"
    if not unknown:
        try:
            reward.check({**reward.parameters, **spec.params})
        except UserError as error:
            yield at, str(error)


def _callable_findings(at: KeyPath, spec: RewardSpec) -> Iterator[Finding]:
    from training.rewards import REWARDS
    from training.rewards.reward import CALLABLE_KEY

    assert spec.callable is not None
    if spec.name in REWARDS:
        yield at, f"the name {spec.name} is a shipped reward's; give your function another"
    try:
        source_file(spec.callable, CALLABLE_KEY)
    except UserError as error:
        yield (*at, "callable"), str(error)
