"""What was asked for, and where it ran: the keys in which runs differ, and the stages that are the same experiment."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from training.compare.runs import NamedRun, stage_names
from training.report.collect import StageView
from training.report.provenance import RUNNER_KEYS

NOT_COMPARED = (*RUNNER_KEYS, "name")
"""Keys of pipeline.resolved.json that are not part of the pipeline, and its name, which heads the comparison."""
NAMED_LISTS = ("stages", "suites", "benchmarks")
"""Blocks of which a whole entry may be in one run only."""
MANY_KEYS = 5
"""A block of so many keys that some runs lack wholly is one difference: an older version's runs lack whole blocks."""
DATA_KEYS = ("source", "rows_in", "rows_kept", "dropped", "rows_sha256", "packed_rows", "left_over_per_epoch")
UNRECORDED_ENVIRONMENT = ("executable",)


@dataclass(frozen=True)
class Difference:
    """A key whose values are not alike; `values` by run, without those runs that do not have the key."""

    key: str
    values: dict[str, Any]


@dataclass(frozen=True)
class StageMatch:
    """One stage in every run: states and fingerprints by run, and whether all left the same weights (None: unknown)."""

    name: str
    kind: str
    states: dict[str, str]
    fingerprints: dict[str, str]
    same_weights: bool | None

    @property
    def same_experiment(self) -> bool | None:
        """Whether all runs have the same fingerprint; None where one of them has none yet."""
        if len(self.fingerprints) < len(self.states):
            return None
        return len(set(self.fingerprints.values())) == 1


def config_differences(runs: Sequence[NamedRun]) -> list[Difference]:
    """The keys of the resolved pipelines that differ; a stage, suite or large block that not all runs have is one."""
    flat = {}
    for run in runs:
        kept = {key: value for key, value in run.view.pipeline.items() if key not in NOT_COMPARED}
        flat[run.label] = dict(flatten(kept))
    missing = _not_everywhere(flat)
    found = [Difference(key, dict.fromkeys(having, "present")) for key, having in missing.items()]
    prefixes = tuple(f"{key}." for key in missing)
    rest = differences(flat)  # inside a block that some lack, what those that have it disagree on
    return found + [one for one in rest if not one.key.startswith(prefixes) or _differ(list(one.values.values()))]


def _not_everywhere(flat: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """The outermost blocks that some runs lack, with the labels of those that have them."""
    sizes = {label: Counter(block for key in values for block in _blocks(key)) for label, values in flat.items()}
    found: dict[str, list[str]] = {}
    for block in dict.fromkeys(block for counts in sizes.values() for block in counts):
        having = [label for label, counts in sizes.items() if block in counts]
        one_thing = _is_named(block) or max(counts[block] for counts in sizes.values()) >= MANY_KEYS
        if len(having) < len(flat) and one_thing and not block.startswith(tuple(f"{outer}." for outer in found)):
            found[block] = having
    return found


def _blocks(key: str) -> Iterator[str]:
    """`a` and `a.b` of a.b.c, the outermost first."""
    parts = key.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _is_named(block: str) -> bool:
    first, *rest = block.split(".")
    return first in NAMED_LISTS and len(rest) == 1


def differences(flat: Mapping[str, Mapping[str, Any]]) -> list[Difference]:
    """The keys in which flat dicts, by run, are not alike; in the order they are met."""
    keys = dict.fromkeys(key for values in flat.values() for key in values)
    found = [Difference(key, {label: values[key] for label, values in flat.items() if key in values}) for key in keys]
    return [one for one in found if len(one.values) < len(flat) or _differ(list(one.values.values()))]


def _differ(values: list[Any]) -> bool:
    return any(value != values[0] for value in values[1:])


def flatten(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`key.path`, value of every leaf but None: a run of an older version merely lacks the key. Entries of a list that
    have a name are met by it, other lists are leaves."""
    for key, value in block.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
            yield from flatten(dict(_entries(value)), f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value


def _entries(block: Any) -> Iterator[tuple[str, Any]]:
    """The entries of a dict, or of a list by their names."""
    if isinstance(block, Mapping):
        yield from block.items()
        return
    for entry in block:
        yield str(entry["name"]), {key: value for key, value in entry.items() if key != "name"}


def environment_differences(runs: Sequence[NamedRun]) -> list[Difference]:
    """What is not alike in the machines, packages and sources that the stages' records name; the base computes nothing
    and does not count."""
    flat: dict[str, dict[str, Any]] = {}
    for run in runs:
        found: dict[str, list[str]] = {}
        for stage in run.view.stages:
            if stage.record is not None and stage.kind != "base":
                for key, value in flatten(stage.record.get("environment") or {}):
                    if key not in UNRECORDED_ENVIRONMENT and str(value) not in found.setdefault(key, []):
                        found[key].append(str(value))
        flat[run.label] = {key: ", ".join(sorted(values)) for key, values in found.items()}
    with_records = {label: values for label, values in flat.items() if values}
    return differences(with_records) if len(with_records) > 1 else []


def stage_matches(runs: Sequence[NamedRun]) -> list[StageMatch]:
    """Every stage that at least one run has."""
    return [_match(name, runs) for name in stage_names(runs)]


def _match(name: str, runs: Sequence[NamedRun]) -> StageMatch:
    stages = {run.label: run.stage(name) for run in runs}
    kind = next(stage.kind for stage in stages.values() if stage is not None)
    states = {label: "absent" if stage is None else stage.state for label, stage in stages.items()}
    prints = {label: stage.fingerprint for label, stage in stages.items() if stage is not None and stage.fingerprint}
    weights = [weight_hashes(stage) for stage in stages.values()]
    whole = all(weights)
    return StageMatch(name, kind, states, prints, not _differ(weights) if whole else None)


def weight_hashes(stage: StageView | None) -> dict[str, str]:
    """The sha256 of each weights file that the stage's record names."""
    files: dict[str, str] = ((stage.record if stage is not None else None) or {}).get("files") or {}
    return {name: digest for name, digest in files.items() if name.endswith(".safetensors")}


def data_differences(runs: Sequence[NamedRun]) -> dict[str, list[Difference]]:
    """Stage -> what differs in the rows that the records of at least two runs tell of; empty lists where nothing."""
    found = {}
    for name in stage_names(runs):
        flat = {}
        for run in runs:
            stage = run.stage(name)
            data = ((stage.record if stage is not None else None) or {}).get("data") or {}
            kept = {key: data[key] for key in DATA_KEYS if key in data}
            if kept:
                flat[run.label] = {key: value for key, value in flatten(kept) if value != 0}
        if len(flat) > 1:
            found[name] = differences(flat)
    return found
