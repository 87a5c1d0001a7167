"""`benchmarks:`: published protocols that models are measured by, beside suites of one's own questions."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator, model_validator

from training.config.block import Block, Count
from training.config.place import Place

H6 = {
    "arc_challenge": 25,
    "hellaswag": 10,
    "mmlu": 5,
    "truthfulqa_mc2": 0,
    "winogrande": 5,
    "gsm8k": 5,
}
"""The six tasks of the Open LLM Leaderboard v1 by lm-eval's names, with the leaderboard's number of shots."""


class LocalData(Block):
    """Rows of one task from files of this machine, in place of the hub's."""

    test: Place = Field(description="The rows that are asked: json, jsonl, csv or parquet.")
    fewshot: Place | None = Field(
        default=None, description="The rows that examples are drawn from, never those asked; needed with shots."
    )
    columns: dict[str, str] = Field(default_factory=dict, description="The task's column name -> the file's.")


class LmEval(Block):
    """Tasks of EleutherAI's lm-evaluation-harness: log-likelihoods and generations without a chat template."""

    tasks: list[str] = Field(
        min_length=1, description="lm-eval's names of tasks; h6 stands for the six of the Open LLM Leaderboard v1."
    )
    num_fewshot: int | None = Field(
        default=None, ge=0, description="Examples in every prompt; null is the leaderboard's or the task's own number."
    )
    limit: Count | None = Field(default=None, description="The first so many items of each task; null is all.")
    batch_size: Count = Field(default=8, description="Texts scored together; changes no result.")
    local_data: dict[str, LocalData] = Field(
        default_factory=dict, description="Task -> its rows in files; other tasks come from the hub."
    )

    @field_validator("tasks")
    @classmethod
    def h6_stands_for_its_tasks(cls, tasks: list[str]) -> list[str]:
        named = [task for name in tasks for task in (H6 if name == "h6" else (name,))]
        for task in named:
            if named.count(task) > 1:
                raise ValueError(f"names {task} {named.count(task)} times; once is enough")
        return named

    def shots(self, task: str) -> int | None:
        """The examples in a prompt of `task`; None leaves it to lm-eval's own config of the task."""
        return H6.get(task) if self.num_fewshot is None else self.num_fewshot

    @model_validator(mode="after")
    def local_data_are_of_tasks_and_have_examples(self) -> LmEval:
        for task, data in self.local_data.items():
            if task not in self.tasks:
                raise ValueError(f"local_data.{task}: the tasks are {', '.join(self.tasks)}")
            shots = self.shots(task)
            if shots and data.fewshot is None:
                raise ValueError(
                    f"local_data.{task}: prompts hold {shots} examples and fewshot names no file to draw them from; "
                    "name one, or set num_fewshot: 0"
                )
            if data.fewshot == data.test:
                raise ValueError(f"local_data.{task}: fewshot is the file that is asked; examples must be other rows")
        return self


class HumanEval(Block):
    """OpenAI's 164 coding tasks: programs run against their tests in the sandbox."""

    limit: Count | None = Field(default=None, description="The first so many tasks; null is all 164.")
    max_completion_length: Count = Field(default=512, description="Longest answer, in tokens.")
    timeout_s: float = Field(default=5.0, ge=0.1, le=30.0, description="CPU seconds of a program.")
    memory_mb: int = Field(default=512, ge=64, description="Memory of a program, in MB.")
    sandbox: str = Field(default="namespaces", description="The level of isolation (docs/sandbox.md).")


class Exercises(Block):
    """A folder of coding exercises with tests in several languages, laid out as in Aider's polyglot benchmark."""

    path: Place = Field(description="The folder; every folder in it with .meta/config.json is an exercise.")
    languages: list[str] | None = Field(
        default=None, min_length=1, description="Only these: python, javascript, c, cpp, rust; null is all there are."
    )
    limit: Count | None = Field(default=None, description="The first so many of each language, by name; null is all.")
    tries: Literal[1, 2] = Field(default=2, description="With 2, a model whose tests fail sees their output once.")
    max_completion_length: Count = Field(default=1024, description="Longest answer of a try, in tokens.")
    timeout_s: float = Field(default=20.0, ge=0.1, le=300.0, description="CPU seconds of the tests, compiling apart.")
    memory_mb: int = Field(default=2048, ge=64, description="Address space of a program, in MB; node wants 1,500.")
    sandbox: str = Field(default="namespaces", description="The level of isolation (docs/sandbox.md).")


class Benchmark(Block):
    """One benchmark: exactly one of lm_eval, human_eval and exercises."""

    lm_eval: LmEval | None = Field(default=None, description="Tasks of the lm-evaluation-harness.")
    human_eval: HumanEval | None = Field(default=None, description="HumanEval, with pass@k over `draws`.")
    exercises: Exercises | None = Field(default=None, description="A folder of coding exercises, in the sandbox.")

    @model_validator(mode="after")
    def exactly_one_is_given(self) -> Benchmark:
        given = [name for name in Benchmark.model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"needs exactly one of {', '.join(Benchmark.model_fields)}; found {' and '.join(given) or 'none'}"
            )
        return self

    def scores(self, name: str) -> list[str]:
        """The names of its results: of each task, and of the average as a gate may name it."""
        if self.lm_eval is None:
            return [name]
        average = [name] if set(H6) <= set(self.lm_eval.tasks) else []
        return [*average, *(f"{name}/{task}" for task in self.lm_eval.tasks)]
