"""Rules of task families: each exists, can be reproduced, and takes the parameters it is given."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from data.generators import REFUSED_FAMILIES, endless_divisions
from training.config.cross_checks import Finding
from training.config.document import KeyPath
from training.config.pipeline import Pipeline
from training.config.source_checks import data_blocks
from training.config.suggest import nearest
from training.config.task_families import families, parameters


def families_exist_and_take_their_parameters(pipeline: Pipeline) -> Iterator[Finding]:
    """Every family of every generator is one of reasoning-gym's, and so are its parameters."""
    for at, block in data_blocks(pipeline):
        if block.generator is None:
            continue
        yield from family_findings((*at, "generator", "families"), block.generator.families)


def family_findings(at: KeyPath, named: Mapping[str, dict[str, object]]) -> Iterator[Finding]:
    """What is wrong with families (name -> parameters) that stand at `at`."""
    for family, given in named.items():
        here: KeyPath = (*at, family)
        if family in REFUSED_FAMILIES:
            yield here, f"is refused: {REFUSED_FAMILIES[family]}"
        elif family not in families():
            yield here, f"reasoning-gym has no such family{nearest(family, families())}"
        else:
            found = list(_parameter_findings(here, family, given))
            yield from found
            if family == "basic_arithmetic" and not found:
                too_long = endless_divisions(_defaults(family) | given)
                if too_long is not None:
                    yield here, too_long


def _parameter_findings(at: KeyPath, family: str, given: dict[str, object]) -> Iterator[Finding]:
    known = parameters(family)
    for name, value in given.items():
        if name not in known:
            accepted = ", ".join(known) or "none"
            yield (*at, name), f"is no parameter of {family}{nearest(name, known)}; accepted: {accepted}"
        elif known[name].accepted_kinds and not known[name].admits(value):
            yield (*at, name), f"must be {known[name].accepted_words}"


def _defaults(family: str) -> dict[str, object]:
    return {name: ast.literal_eval(info.default_text) for name, info in parameters(family).items()}
