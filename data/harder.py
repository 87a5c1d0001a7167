"""Parameters that make a task family harder than the ones it was trained with.

What is difficult in a family, and in which steps, is reasoning-gym's own statement: the attributes of the family's
curriculum with their levels. Each attribute with numbers for levels moves to the first level beyond every value that
was trained, so that none of its values was. Refuses to guess: an attribute with other levels keeps its values, and a
family without a curriculum has no harder instances unless the user gives its parameters.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from data.errors import UserError
from data.generators import check_families
from data.without_compiler import import_reasoning_gym

HARDER_VERSION = 1
"""Raised when the same trained parameters give other harder ones: part of the identity of what is measured."""


def harder_parameters(family: str, trained: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the parameters of harder instances of `family`; `trained` are all parameters it is trained with.

    What no attribute moves is taken from the last of `trained`. Raises UserError with the reason where the family has
    no curriculum, no attribute can be raised, or the family refuses what comes out.
    """
    reasoning_gym = import_reasoning_gym()
    if not reasoning_gym.factory.has_curriculum(family):
        raise UserError("reasoning-gym states no levels of difficulty for it")
    config_class = reasoning_gym.factory.DATASETS[family][1]
    values = [{**vars(config_class()), **parameters} for parameters in trained]
    attributes = reasoning_gym.factory.create_curriculum(family).attributes.values()
    refusal = UserError("no parameter has a level beyond the trained values")
    for as_intervals in (False, True):  # some families refuse a range of one value, and do not say so
        raised = {key: value for each in attributes for key, value in _raised(each, values, as_intervals).items()}
        if not raised:
            break
        try:
            check_families({family: {**trained[-1], **raised}})
            return {**trained[-1], **raised}
        except UserError as error:
            refusal = error
    raise refusal


def _raised(attribute: Any, values: Sequence[Mapping[str, Any]], as_interval: bool) -> dict[str, Any]:
    """The fields of one attribute at the first level beyond the trained values, or from it to the second; nothing
    where there is none."""
    is_range = hasattr(attribute, "upper_field_name")
    trained = [each[attribute.upper_field_name if is_range else attribute.field_name] for each in values]
    if not all(map(_is_number, [*attribute.levels, *trained])):
        return {}
    beyond = _levels_beyond(attribute.levels, trained)
    if not beyond:
        return {}
    if not is_range:
        return {attribute.field_name: beyond[0]}
    interval = (attribute.ensure_interval or as_interval) and len(beyond) > 1
    return {attribute.lower_field_name: beyond[0], attribute.upper_field_name: beyond[1] if interval else beyond[0]}


def _levels_beyond(levels: Sequence[float], trained: Sequence[float]) -> list[float]:
    """The levels harder than every trained value, easiest first; levels that neither rise nor fall have none."""
    pairs = list(itertools.pairwise(levels))
    if all(easier < harder for easier, harder in pairs):
        return [level for level in levels if level > max(trained)]
    if all(easier > harder for easier, harder in pairs):
        return [level for level in levels if level < min(trained)]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
