"""Reward `reasoning_gym`: the score that a task family of reasoning-gym gives to an answer itself.

Puzzles have many right answers (countdown, sudoku, graph colouring): where reward `answer` compares with one reference,
this asks the family's own scorer, which may also give part of the marks, from 0 to 1. Needs rows that data.generator
made: their column `task` names the item, which is made again here with all that its scorer looks at.

Some families hand the answer to Python's eval or to sympy, which runs Python (countdown, n_queens, the integrals).
There an answer must be a literal, a formula of the names below, or words; anything else earns 0 unread.

The answer is the last complete <answer> tag, else the last \\boxed{}, else (not under `strict`) the last line.
"""

import ast
import inspect
import json
import re
import sys
from functools import cache, lru_cache
from typing import Any

from training.rewards.extract import boxed, tagged, visible_text

_EVALUATES = re.compile(r"\b(?:eval|exec|parse_expr|sympify|parse_latex)\(")
_NAME = re.compile(r"[^\W\d]\w*")
_FORMULA = {*"xyztuvnCEIe", "pi", "exp", "log", "ln", "sqrt", "sin", "cos", "tan", "sec", "csc", "cot"}
_FORMULA |= {"asin", "acos", "atan", "sinh", "cosh", "tanh"}
_BEYOND_A_FORMULA = re.compile(r"[^\w\s+\-*/^().,!|]|__|\.\s*[^\W\d]|\)\s*\(")
_BEYOND_WORDS = re.compile(r"[^\w\s,;+\-*/^!|]|__")
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


def is_harmless(answer: str) -> bool:
    """Whether evaluating an answer as Python or sympy computes a value and does nothing else."""
    if _TOWER.search(answer):
        return False
    try:
        ast.literal_eval(answer)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        is_formula = not _BEYOND_A_FORMULA.search(answer) and _FORMULA.issuperset(_NAME.findall(answer))
        return is_formula or not _BEYOND_WORDS.search(answer)
    return True


@cache
def evaluates(module: str) -> bool:
    """Whether a family's module, imported before, hands texts to eval or to sympy's parser, by its source."""
    return _EVALUATES.search(inspect.getsource(sys.modules[module])) is not None


def load_families() -> None:
    """Import reasoning-gym, which takes seconds."""
    from data.without_compiler import import_reasoning_gym

    import_reasoning_gym()


def _score(answer: str | None, task: str) -> float:
    if answer is None:
        return 0.0
    dataset, entry = _item(task)
    if evaluates(type(dataset).__module__) and not is_harmless(answer):
        return 0.0
    return float(dataset.score_answer(answer, entry))


@lru_cache(maxsize=1024)
def _item(task: str) -> tuple[Any, dict[str, Any]]:
    from data.generators import task_item

    return task_item(json.loads(task))
