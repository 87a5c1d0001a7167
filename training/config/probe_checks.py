"""Rules of the `probe:` block that need the rest of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator

from training.config.cross_checks import Finding
from training.config.pipeline import Pipeline
from training.config.stages import ModelStage
from training.config.suggest import nearest


def probes_name_suites(pipeline: Pipeline) -> Iterator[Finding]:
    """A probe asks the questions of suites that the pipeline has, each named once."""
    known = ", ".join(pipeline.suites) or "none"
    for index, stage in enumerate(pipeline.stages):
        names = stage.probe.suites if isinstance(stage, ModelStage) and stage.probe is not None else []
        for position, name in enumerate(names):
            at = ("stages", index, "probe", "suites", position)
            if name not in pipeline.suites:
                yield at, f"no suite has this name{nearest(name, pipeline.suites)}; the suites are {known}"
            elif name in names[:position]:
                yield at, "stands twice; once is enough"
