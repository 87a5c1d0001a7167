"""lm-eval's tasks, on the hub's rows or on one's own: the one module that knows how the harness builds a task.

Rows of files go through the official task's own prompt, choices and metric, read from lm-eval's YAML. Examples come
from the file named for them alone.
"""

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from data.files import read_rows
from data.home import from_home
from training.benchmarks.identity import hub_commit
from training.benchmarks.local_rows import Row, not_asked, task_rows
from training.config.benchmarks import H6, LmEval, LocalData
from training.config.suggest import nearest

METRICS = {"arc_challenge": "acc_norm", "hellaswag": "acc_norm", "gsm8k": "exact_match"}
"""The leaderboard's metric where it is not acc."""
FILTERS = {"gsm8k": "strict-match"}
YAML = {
    "arc_challenge": "arc/arc_challenge.yaml",
    "hellaswag": "hellaswag/hellaswag.yaml",
    "mmlu": "mmlu/default/_default_template_yaml",
    "truthfulqa_mc2": "truthfulqa/truthfulqa_mc2.yaml",
    "winogrande": "winogrande/default.yaml",
    "gsm8k": "gsm8k/gsm8k.yaml",
}
WORD = re.compile(r"""[^\s"'\[\],:]+""")
SUBJECT = "The following are multiple choice questions (with answers) about {}.\n\n"


def require_known(name: str, block: LmEval) -> None:
    """Raise UserError for a task that lm-eval does not have; the six are known without a search."""
    others = [task for task in block.tasks if task not in YAML]
    known = words_of_tasks() if others else set()
    for task in others:
        if task not in known:
            raise UserError(
                f"benchmarks.{name}.lm_eval.tasks: lm-eval has no task {task}{nearest(task, known)}; "
                "`lm-eval ls tasks` lists them"
            )


def words_of_tasks() -> set[str]:
    """Every word of lm-eval's task files, and so every name of a task, group or tag among others.

    The harness's own index takes ten seconds and more to parse; it finds a word that names no task later.
    """
    spec = importlib.util.find_spec("lm_eval")
    assert spec is not None
    assert spec.submodule_search_locations
    files = (Path(spec.submodule_search_locations[0]) / "tasks").rglob("*")
    texts = (file.read_text(encoding="utf-8") for file in files if file.suffix in ("", ".yaml") and file.is_file())
    return {word for text in texts for word in WORD.findall(text)}


@dataclass(frozen=True)
class Built:
    """One task of a benchmark as lm-eval's objects by name (MMLU is one a subject).

    `official`: whether rows, examples and shots are those of the published protocol. `examples_left_out`: how many
    rows of `fewshot` are asked themselves and therefore no examples.
    """

    tasks: dict[str, Any]
    official: bool
    examples_left_out: int = 0


def build_tasks(name: str, block: LmEval, task: str, pin: Callable[[str], str] | None = None) -> Built:
    """Build one task of a benchmark; raises UserError where rows cannot be had or do not fit the task.

    `pin` gives the commit of a hub data set; local rows need none.
    """
    data = block.local_data.get(task)
    shots = block.shots(task)
    whole = block.limit is None and shots == H6.get(task)
    if data is None:
        return Built(hub_tasks(name, task, shots, None if pin is None else hub_commit(task, pin)), whole)
    where = f"benchmarks.{name}.lm_eval.local_data.{task}"
    test, official = task_rows(task, read_rows(from_home(data.test)), data.columns, f"{where}.test")
    given = _examples(task, data, f"{where}.fewshot")
    examples = not_asked(task, given, test)
    left_out = len(given) - len(examples)
    told = f"{where}.fewshot ({left_out} of {len(given)} rows ask what {where}.test asks, and are left out)"
    parts = subjects(task, test, examples) if official else {task: (test, examples)}
    made = {
        part: local_task(task, part, *rows, shots, told if left_out else f"{where}.fewshot")
        for part, rows in parts.items()
    }
    return Built(made, official and whole and not left_out, left_out)


def _examples(task: str, data: LocalData, where: str) -> list[Row]:
    if data.fewshot is None:
        return []
    return task_rows(task, read_rows(from_home(data.fewshot)), data.columns, where)[0]


def subjects(task: str, test: list[Row], examples: list[Row]) -> dict[str, tuple[list[Row], list[Row]]]:
    """MMLU by subject, as the harness has it; any other task is one part."""
    if task != "mmlu":
        return {task: (test, examples)}
    names = dict.fromkeys(row["subject"] for row in test)
    return {
        f"mmlu_{name}": ([r for r in test if r["subject"] == name], [r for r in examples if r["subject"] == name])
        for name in names
    }


def local_task(task: str, part: str, test: list[Row], examples: list[Row], shots: int | None, where: str) -> Any:
    """An lm-eval task on rows of ours, everything else from the official config."""
    from datasets import Dataset
    from lm_eval.api.task import ConfigurableTask

    config = official_config(task)
    shots = config.get("num_fewshot", 0) if shots is None else shots
    if len(examples) < (shots or 0):
        raise UserError(f"{where} has {len(examples)} rows for {part}, and prompts hold {shots} examples; give more")
    if task == "hellaswag" and "query" in test[0]:
        config.pop("process_docs")  # makes the query from official columns
    if part != task:
        config["description"] = SUBJECT.format(part.removeprefix("mmlu_").replace("_", " "))
    rows = {"test": Dataset.from_list(test)} | ({"fewshot": Dataset.from_list(examples)} if examples else {})
    config |= {
        "task": part,
        "custom_dataset": lambda **_: rows,
        "dataset_kwargs": None,
        "test_split": "test",
        "validation_split": None,
        "training_split": None,
        "fewshot_split": "fewshot" if examples else None,
        "num_fewshot": shots or 0,
    }
    return ConfigurableTask(config=config)


def official_config(task: str) -> dict[str, Any]:
    """lm-eval's config of a task by name; the six are read from their files, which takes no search of all tasks."""
    from lm_eval.tasks._yaml_loader import load_yaml

    if task in YAML:
        import lm_eval.tasks

        return dict(load_yaml(Path(lm_eval.tasks.__file__).parent / YAML[task]))
    from lm_eval.tasks import TaskManager

    entry = TaskManager().task_index.get(task)
    if entry is None or entry.yaml_path is None:
        raise UserError(f"lm-eval has no task {task} of its own; name one task, no group, for local_data")
    return dict(load_yaml(entry.yaml_path))


def hub_tasks(name: str, task: str, shots: int | None, commit: str | None) -> dict[str, Any]:
    """The task or the tasks of a group with the hub's rows, those of the six at `commit`.

    UserError where there is no such task or its rows cannot be fetched.
    """
    from lm_eval.tasks import TaskManager

    try:
        made = dict(TaskManager().load([task])["tasks"]) if commit is None else tasks_at(task, commit)
    except (KeyError, ValueError) as error:
        raise UserError(f"benchmarks.{name}: lm-eval has no task {task}: {error}") from error
    except (OSError, ConnectionError) as error:
        raise UserError(
            f"benchmarks.{name}: the rows of {task} cannot be fetched ({str(error).splitlines()[0]}); name files of "
            f"yours under lm_eval.local_data.{task}"
        ) from error
    for each in made.values():
        if shots is not None:
            each.set_config(key="num_fewshot", value=shots)
    return made


def tasks_at(task: str, commit: str) -> dict[str, Any]:
    """One of the six, MMLU by subject, on the rows of its hub data set at a commit."""
    import lm_eval.tasks
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks._yaml_loader import load_yaml

    path = Path(lm_eval.tasks.__file__).parent / YAML[task]
    configs = [
        dict(load_yaml(file)) for file in (sorted(path.parent.glob("mmlu_*.yaml")) if task == "mmlu" else [path])
    ]
    revision = {"dataset_kwargs": {"revision": commit}}
    return {config["task"]: ConfigurableTask(config=config | revision) for config in configs}


def metric_of(task: str, made: Sequence[Any]) -> tuple[str, str | None]:
    """Return (metric, filter) that a task is judged by: the leaderboard's, else the first that its config lists."""
    if task in METRICS:
        return METRICS[task], FILTERS.get(task)
    if task in YAML:
        return "acc", None
    listed = made[0].config.metric_list or [{"metric": "acc"}]
    filters = made[0].config.filter_list
    return str(listed[0]["metric"]), None if not filters else str(filters[0]["name"])
