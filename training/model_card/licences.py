"""The licence of the base as far as it is known, in the record's words and in the hub's."""

import re

from data.errors import UserError
from data.licences import licence_beside
from training.bundled import bundled_spec
from training.report.collect import RunView

_SPDX = re.compile(
    r"(apache|mit|bsd|cc0|cc-by|gpl|lgpl|agpl|mpl|odbl|odc|llama|gemma|openrail|bigscience)[\w.+-]*", re.I
)
"""Names that the hub knows in lower case; others are shown in the text and left out of the YAML block."""


def base_licence(run: RunView) -> str | None:
    """The licence of the pipeline's model: a bundled one's, or that of a LICENSE file in its folder, else None."""
    model = str(run.pipeline.get("model") or "")
    if model.startswith("bundled:"):
        try:
            return str(bundled_spec(model.removeprefix("bundled:"))["licence"])
        except UserError:
            return None  # a model that a later or an earlier posttrain shipped
    base = run.stage("base")
    if base is None or not base.path("model").is_dir():
        return None
    found = licence_beside([], base.path("model"))
    return found["name"] if found else None


def hub_licence_id(name: str | None) -> str | None:
    """The hub's identifier of a licence, or None where the name is not one it would know."""
    return name.lower() if name is not None and _SPDX.fullmatch(name) else None
