"""Reward `reasoning_gym`: the score that a task family of reasoning-gym gives to an answer itself.

Puzzles have many right answers (countdown, sudoku, graph colouring): where reward `answer` compares with one reference,
this asks the family's own scorer, which may also give part of the marks, from 0 to 1. Needs rows that data.generator
made: their column `task` names the item, which is made again here with all that its scorer looks at.

Some families evaluate the answer (countdown, by sympy, which runs Python): what could be more than arithmetic earns 0.

The answer is the last complete <answer> tag, else the last \\boxed{}, else (not under `strict`) the last line.
"""

import builtins
import json
import re
from functools import lru_cache
from typing import Any

from training.rewards.extract import boxed, tagged, visible_text

_BUILTINS = "|".join(name for name in dir(builtins) if name.islower() and callable(getattr(builtins, name)))
_CALL = re.compile(rf"\b(?:{_BUILTINS}|lambda|preview|lambdify)\b\s*[(:]|\(\s*[a-zA-Z]{{0,2}}[\x27\"]")
_TOWER = re.compile(r"(?:\*\*|\^)[\s(]*\d+[\s)]*(?:\*\*|\^)")


def reasoning_gym(
    completions: list[str], prompts: list[str], task: list[str | None], strict: bool = False, **columns: Any
) -> list[float | None]:
    """Return the family's score of each answer; 0.0 without an answer, None where a row has no task."""
    rows = zip(completions, prompts, task, strict=True)
    return [None if item is None else _score(final_answer(text, prompt, strict), item) for text, prompt, item in rows]


def final_answer(completion: str, prompt: str, strict: bool) -> str | None:
    """Return the answer as the family's scorer wants it, None if there is none."""
    text = visible_text(completion, prompt)
    explicit = tagged(text)
    if explicit is None and not strict:
        explicit = boxed(text)
        if explicit is None:
            explicit = next((line for line in reversed(text.splitlines()) if line.strip()), None)
    return None if explicit is None or not explicit.strip() else explicit.strip()


def is_code(answer: str) -> bool:
    """Whether an answer could run as Python or sympy where a family evaluates it (countdown does)."""
    return "__" in answer or _CALL.search(answer) is not None or _TOWER.search(answer) is not None


def load_families() -> None:
    """Import reasoning-gym, which takes seconds."""
    from data.without_compiler import import_reasoning_gym

    import_reasoning_gym()


def _score(answer: str | None, task: str) -> float:
    if answer is None or is_code(answer):
        return 0.0
    dataset, entry = _item(task)
    return float(dataset.score_answer(answer, entry))


@lru_cache(maxsize=1024)
def _item(task: str) -> tuple[Any, dict[str, Any]]:
    from data.generators import task_item

    return task_item(json.loads(task))
