"""The benchmarks of an evaluation, one after the other on the model that it has loaded."""

from typing import Any

from training.benchmarks.exercises_run import require_exercises, run_exercises
from training.benchmarks.human_eval_run import require_human_eval, run_human_eval
from training.benchmarks.lm_eval_run import run_lm_eval
from training.benchmarks.lm_eval_tasks import build_tasks, require_known
from training.benchmarks.packages import require_package
from training.config.benchmarks import Benchmark
from training.context import StageContext
from training.decode import Decoder


def run_benchmarks(context: StageContext, decoder: Decoder) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    """Return (metrics by score, rows of items.jsonl) of every benchmark that the stage names."""
    metrics: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    for name in context.stage.benchmarks:
        found, own = _run(context, decoder, name, context.pipeline.benchmarks[name])
        metrics |= found
        rows += own
    return metrics, rows


def _run(
    context: StageContext, decoder: Decoder, name: str, benchmark: Benchmark
) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
    if benchmark.lm_eval is not None:
        require_package(name, "lm_eval")
        return run_lm_eval(context, decoder, name, benchmark.lm_eval)
    if benchmark.exercises is not None:
        require_exercises(name, benchmark.exercises)
        return run_exercises(context, decoder, name, benchmark.exercises)
    assert benchmark.human_eval is not None
    require_human_eval(name, benchmark.human_eval)
    return run_human_eval(context, decoder, name, benchmark.human_eval)


def check_benchmark(name: str, benchmark: Benchmark) -> None:
    """Raise UserError for a package, sandbox or task that is not there and for files that do not fit their tasks."""
    if benchmark.exercises is not None:
        require_exercises(name, benchmark.exercises)
    if benchmark.human_eval is not None:
        require_human_eval(name, benchmark.human_eval)
    if benchmark.lm_eval is not None:
        require_package(name, "lm_eval")
        require_known(name, benchmark.lm_eval)
        for task in benchmark.lm_eval.local_data:
            build_tasks(name, benchmark.lm_eval, task)
