"""Environments of grpo: worlds with state, one for each completion, whose public methods the policy calls as tools.

TRL's protocol (1.16, `environment_factory`): `reset(**columns)` begins anew for a row and may return a text that is put
behind the prompt; other public methods are tools; `get_reward()` may judge the state. They run in the training
process, as tools do. Rewards run elsewhere and get what is plain of the state (`environment_state`).
"""

import inspect
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from data.own_functions import load_function, source_sha256
from training.number_guessing import NumberGuessing
from training.rewards.call import finite
from training.rewards.environment_state import COLUMN

ENVIRONMENT_KEY = "environment.callable"
CONTROL = ("reset", "get_reward")
SEED = "seed"


@dataclass(frozen=True)
class Environment:
    """A shipped environment; raise `version` whenever it acts otherwise."""

    factory: Callable[[], Any]
    version: int


ENVIRONMENTS = {"number_guessing": Environment(NumberGuessing, 1)}


def environment_identity(spec: Any) -> dict[str, Any]:
    """Return what identifies an environment in fingerprints: name and version, of yours the sha256 of its file."""
    if spec.callable is None:
        return {"name": spec.name, "version": ENVIRONMENTS[spec.name].version}
    digest = source_sha256(spec.callable, ENVIRONMENT_KEY, or_class=True)
    return {"name": spec.called, "version": spec.version, "callable_sha256": digest}


def load_environment(spec: Any, stage: str, beside: list[str]) -> Callable[[], Any]:
    """Return the factory of a stage's environment; `beside` are the names of the stage's other tools.

    Raises UserError for one that cannot be reset with a row or whose tools a model cannot be told of.
    """
    from training.tools import require_described

    where = f"stages.{stage}.environment"
    if spec.callable is None:
        factory = ENVIRONMENTS[spec.name].factory
    else:
        try:
            factory = load_function(spec.callable, ENVIRONMENT_KEY, or_class=True)
        except UserError as error:
            raise UserError(f"stages.{stage}.{error}") from error
    try:
        world = factory()
    except TypeError as error:
        raise UserError(
            f"{where}: {spec.called} is made without arguments, one for each completion: {error}"
        ) from error
    _require_reset(world, spec.called, where)
    tools = environment_tools(world)
    if not tools:
        raise UserError(f"{where}: {spec.called} has no method but {' and '.join(CONTROL)}; its methods are the tools")
    for tool in tools:
        require_described(tool, f"{where}.{tool.__name__}")
        if tool.__name__ in beside:
            raise UserError(f"{where}: the model calls two tools {tool.__name__}; rename one")
    return factory


def _require_reset(world: Any, called: str, where: str) -> None:
    reset = getattr(world, "reset", None)
    if not callable(reset):
        raise UserError(f"{where}: {called} has no reset(**columns); it begins a completion with its row")
    if not any(each.kind is inspect.Parameter.VAR_KEYWORD for each in inspect.signature(reset).parameters.values()):
        raise UserError(f"{where}: {called}.reset gets every column of the row; add **columns to its arguments")
    for name in CONTROL:
        if inspect.iscoroutinefunction(getattr(world, name, None)):
            raise UserError(f"{where}: {called}.{name} is async; write a plain method")


def environment_columns(stage: Any) -> set[str]:
    """The column that rewards get beside the row's own, where the stage has an environment."""
    return set() if getattr(stage, "environment", None) is None else {COLUMN}


def reset_states(stage: Any, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows, each with the state of its environment before any call; unchanged where there is none."""
    if not environment_columns(stage):
        return rows
    factory = load_environment(stage.environment, stage.name, [])
    told = []
    for row in rows:
        world = factory()
        world.reset(**{SEED: 0, **row})
        told.append({**row, COLUMN: environment_state(world)})
    return told


def environment_tools(world: Any) -> list[Callable[..., Any]]:
    """Return the methods that TRL makes tools of: the public ones of its class, but for reset and get_reward."""
    names = [name for name, _ in inspect.getmembers(type(world), predicate=inspect.isfunction)]
    return [getattr(world, name) for name in names if name not in CONTROL and not name.startswith("_")]


def environment_state(world: Any) -> dict[str, Any]:
    """Return what of an environment reaches the rewards, as JSON: its public attributes, and what get_reward says.

    `hidden` names the attributes that are no plain values; `error` is what get_reward raised.
    """
    state: dict[str, Any] = {"attributes": {}, "hidden": [], "reward": None, "error": None}
    for name, value in getattr(world, "__dict__", {}).items():
        if name.startswith("_"):
            continue
        try:
            state["attributes"][name] = json.loads(json.dumps(value))
        except (TypeError, ValueError):
            state["hidden"].append(name)
    if hasattr(world, "get_reward"):
        try:
            state["reward"] = finite(world.get_reward())
        except Exception as error:  # counted as an error of the completion, where a reward asks for it
            state["error"] = f"{type(error).__name__}: {error}"
    else:
        state["error"] = "AttributeError: the environment has no get_reward"
    return state
