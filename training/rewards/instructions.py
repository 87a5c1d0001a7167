"""Reward `instructions`: does the completion follow the instructions that its prompt lists (IFEval, IFBench)?

The data names them: a column `instruction_id_list` (["punctuation:no_comma", ...]) and a column `kwargs` with the
arguments of each, as google/IFEval and allenai/IFBench_test store them. `training.rewards.constraints` checks them.

As in IFEval, an empty completion follows nothing, though it holds no comma. What stands in <think> is not looked at.
"""

from collections.abc import Mapping
from typing import Any

from data.errors import UserError
from training.rewards.constraints import KINDS
from training.rewards.extract import visible_text

SCORES = ("share", "all")


def instructions(
    completions: list[str],
    prompts: list[str],
    instruction_id_list: list[list[str] | None],
    kwargs: list[list[Mapping[str, Any] | None] | None],
    score: str = "share",
    **columns: Any,
) -> list[float | None]:
    """Return the share of instructions that are followed, or with `score="all"` 1.0 if all are, else 0.0.

    None where a row lists no instruction. Raises UserError for an unknown kind, ValueError for wrong arguments.
    """
    rows = zip(completions, instruction_id_list, kwargs, strict=True)
    return [_score(completion, names or [], arguments or [], score) for completion, names, arguments in rows]


def check_score(parameters: Mapping[str, Any]) -> None:
    """Raise UserError unless `score` is known."""
    if parameters["score"] not in SCORES:
        raise UserError(
            f"reward instructions: score={parameters['score']!r} is not accepted; use {' or '.join(SCORES)}"
        )


def _score(completion: str, names: list[str], arguments: list[Mapping[str, Any] | None], score: str) -> float | None:
    if not names:
        return None
    if len(names) != len(arguments):
        raise ValueError(f"{len(names)} instructions have {len(arguments)} kwargs; there must be one each")
    text = visible_text(completion, "")
    followed = [_follows(text, name, given or {}) for name, given in zip(names, arguments, strict=True)]
    return float(all(followed)) if score == "all" else sum(followed) / len(followed)


def _follows(text: str, name: str, given: Mapping[str, Any]) -> bool:
    """Whether one instruction is followed; arguments that are null are those of other kinds, filled in by Arrow."""
    if name not in KINDS:
        raise UserError(f"reward instructions: {name!r} is no kind of instruction that can be checked here")
    if not text.strip():
        return False
    try:
        return KINDS[name](text, **{key: value for key, value in given.items() if value is not None})
    except TypeError as error:
        raise ValueError(f"{name}: {error}") from error
