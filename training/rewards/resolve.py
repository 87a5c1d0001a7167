"""Which reward an entry of `rewards:` means: a shipped one by its name, or a function of the user by `callable`."""

import difflib
from typing import Any

from data.errors import UserError
from data.own_functions import source_sha256
from training.rewards import REWARDS
from training.rewards.reward import CALLABLE_KEY, Reward


def reward_of(spec: Any) -> Reward:
    """Return the reward of `spec` (name, weight, params; callable and version for a function of the user).

    Its parameters are all there are, defaults filled in and checked. Raises UserError for unknown rewards and
    parameters. The function of a user is not imported: a worker does that.
    """
    if getattr(spec, "callable", None) is not None:
        return Reward(spec.name, spec.version, _only_in_a_worker, dict(spec.params))
    if spec.name not in REWARDS:
        close = difflib.get_close_matches(spec.name, REWARDS, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise UserError(f"rewards: {spec.name} is no reward, there are {', '.join(REWARDS)}{hint}")
    reward = REWARDS[spec.name]
    unknown = sorted(set(spec.params) - set(reward.parameters))
    if unknown:
        accepted = ", ".join(reward.parameters) or "none"
        raise UserError(f"rewards: {spec.name} has no parameter {unknown[0]}; accepted: {accepted}")
    parameters = {**reward.parameters, **spec.params}
    reward.check(parameters)
    return Reward(**{**vars(reward), "parameters": parameters})


def reward_identity(spec: Any) -> dict[str, Any]:
    """Return what identifies a reward in fingerprints and records: name, version, weight, parameters as given, and
    the sha256 of the module of a user's function."""
    identity = {"name": spec.name, "version": reward_of(spec).version, "weight": spec.weight, "params": spec.params}
    if getattr(spec, "callable", None) is not None:
        identity["callable_sha256"] = source_sha256(spec.callable, CALLABLE_KEY)
    return identity


def worker_spec(spec: Any) -> dict[str, Any]:
    """Return what a worker is told of a reward (`training.rewards.call.load_calls`)."""
    reward = reward_of(spec)
    own = getattr(spec, "callable", None)
    limit = reward.time_limit_s
    return {"name": spec.name, "callable": own, "parameters": reward.parameters, "time_limit_s": limit}


def _only_in_a_worker(*arguments: Any, **columns: Any) -> list[float | None]:
    raise AssertionError("a user's reward is called in a worker process only")
