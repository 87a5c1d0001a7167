"""Rules of `benchmarks:`: what evaluations name is there, under a name of its own, and its files exist."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from data.home import from_home
from training.config.cross_checks import Finding, decodings, unknown_names
from training.config.generalisation import NAME
from training.config.pipeline import Pipeline


def benchmarks_are_known_and_named_once(pipeline: Pipeline) -> Iterator[Finding]:
    """Every benchmark that an evaluation names stands under `benchmarks`, and none shares a suite's name."""
    for at, decoding in decodings(pipeline):
        yield from unknown_names((*at, "benchmarks"), decoding.benchmarks, pipeline.benchmarks)
        for position, name in enumerate(decoding.benchmarks):
            if name in decoding.benchmarks[:position]:
                yield (*at, "benchmarks", position), f"names {name} a second time; once is enough"
    for name in pipeline.benchmarks:
        if name in pipeline.suites or name == NAME:
            yield ("benchmarks", name), "is the name of a suite too; choose another"


def local_files_of_benchmarks_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """Every file of local_data is there."""
    for name, benchmark in pipeline.benchmarks.items():
        for task, data in ({} if benchmark.lm_eval is None else benchmark.lm_eval.local_data).items():
            for key, path in (("test", data.test), ("fewshot", data.fewshot)):
                if path is not None and not from_home(path).is_file():
                    at = ("benchmarks", name, "lm_eval", "local_data", task, key)
                    yield at, f"there is no such file (looked in {Path.cwd()})"


def folders_of_exercises_exist(pipeline: Pipeline) -> Iterator[Finding]:
    """Every folder of exercises is there."""
    for name, benchmark in pipeline.benchmarks.items():
        if benchmark.exercises is not None and not from_home(benchmark.exercises.path).is_dir():
            yield ("benchmarks", name, "exercises", "path"), f"there is no such folder (looked in {Path.cwd()})"


def offline_tasks_have_local_data(pipeline: Pipeline) -> Iterator[Finding]:
    """With `offline: true` no task that is measured comes from the hub."""
    asked = {name for _, decoding in decodings(pipeline) for name in decoding.benchmarks}
    for name, benchmark in pipeline.benchmarks.items():
        if benchmark.lm_eval is None or not pipeline.offline or name not in asked:
            continue
        missing = [task for task in benchmark.lm_eval.tasks if task not in benchmark.lm_eval.local_data]
        if missing:
            at = ("benchmarks", name, "lm_eval", "local_data")
            yield at, f"offline: true, and {', '.join(missing)} would come from the hub; name their files"


def gates_on_benchmarks_are_on_accuracy(pipeline: Pipeline) -> Iterator[Finding]:
    """A benchmark has no format rate."""
    for index, stage in enumerate(pipeline.stages):
        gate = getattr(stage, "gate", None)
        if gate is not None and gate.metric != "accuracy" and gate.suite.partition("/")[0] in pipeline.benchmarks:
            yield ("stages", index, "gate", "metric"), f"the benchmark {gate.suite} has accuracy only"


RULES = (
    benchmarks_are_known_and_named_once,
    local_files_of_benchmarks_exist,
    folders_of_exercises_exist,
    offline_tasks_have_local_data,
    gates_on_benchmarks_are_on_accuracy,
)
