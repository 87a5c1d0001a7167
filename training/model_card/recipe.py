"""What a model was made of: the stages above it and the sources of their rows, from the records."""

from typing import Any

from training.report.collect import RunView, StageView


def ancestry(run: RunView, stage: StageView) -> list[StageView]:
    """The stage and every stage it was made from, in pipeline order."""
    wanted, waiting = {stage.name}, [stage]
    while waiting:
        for name in waiting.pop().parents:
            parent = run.stage(name)
            if parent is not None and name not in wanted:
                wanted.add(name)
                waiting.append(parent)
    return [one for one in run.stages if one.name in wanted]


def training_sources(run: RunView, stage: StageView) -> list[tuple[StageView, dict[str, Any]]]:
    """(stage, source) for each source of rows in the ancestry, the parts of a mixture apart."""
    found = []
    for one in ancestry(run, stage):
        source = ((one.record or {}).get("data") or {}).get("source") or {}
        parts = source["mix"] if isinstance(source.get("mix"), list) else [source]
        found += [(one, part) for part in parts if part]
    return found
