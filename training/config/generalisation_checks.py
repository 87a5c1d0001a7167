"""Rules of `evaluate.generalisation`: it needs generated rows, its families exist, and what is unseen is."""

from __future__ import annotations

from collections.abc import Iterator

from data.generalisation import unseen_families
from training.config.cross_checks import Finding, decodings
from training.config.document import KeyPath
from training.config.family_checks import family_findings
from training.config.generalisation import NAME, trained_families
from training.config.pipeline import Pipeline
from training.config.suggest import nearest


def generalisation_is_about_generated_rows(pipeline: Pipeline) -> Iterator[Finding]:
    """What is trained on comes from a generator, since only a generator gives fresh and harder instances."""
    trained = trained_families(pipeline.stages)
    for at, decoding in decodings(pipeline):
        block = decoding.generalisation
        if block is None:
            continue
        if NAME in decoding.suites:
            yield (*at, "suites"), f"names a suite {NAME}, the name of this block's results; rename the suite"
        if not trained:
            yield (*at, NAME), "needs a stage that trains on a generator's rows; no stage has data.generator"
            continue
        yield from _harder((*at, NAME, "harder"), block.harder, trained)
        yield from _unseen((*at, NAME), block.unseen, trained)


def _harder(at: KeyPath, harder: dict[str, dict], trained: dict[str, list]) -> Iterator[Finding]:
    yield from family_findings(at, {family: given for family, given in harder.items() if family in trained})
    for family in harder:
        if family not in trained:
            yield (
                (*at, family),
                f"no stage trains on this family{nearest(family, trained)}; trained: {', '.join(trained)}",
            )


def _unseen(at: KeyPath, unseen: dict[str, dict] | None, trained: dict[str, list]) -> Iterator[Finding]:
    if unseen is None:
        if not unseen_families(trained):
            yield at, "the stages train on all six families that stand for unseen ones; name others under unseen"
        return
    yield from family_findings((*at, "unseen"), unseen)
    for family in unseen:
        if family in trained:
            yield (*at, "unseen", family), "a stage trains on this family; name one that none trains on"


RULES = (generalisation_is_about_generated_rows,)
