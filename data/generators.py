"""Verifiable tasks made on the spot by reasoning-gym: questions with known answers, the same ones for the same seed.

Owns: which instances a (families, rows, seed) triple stands for. Refuses: families whose questions
cannot be reproduced or have no single answer text. reasoning_gym takes seconds to import, so it is imported inside
functions only.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

from data.errors import UserError
from data.tool_conversations import CALCULATED, tool_conversation
from data.without_compiler import import_reasoning_gym
from data.worked import bare_answer, exact_value, worked_answer

# reasoning-gym draws item i of a data set from Random(seed + i), and word_ladder refuses sizes above this one.
VIRTUAL_SIZE = 20_000

MAX_DIVISION_DIGITS = 12
"""Digits of a product up to which basic_arithmetic finds its divisors in a fraction of a second."""

REFUSED_FAMILIES = {
    "composite": "it mixes other families; list those families themselves",
    "propositional_logic": "its items carry no answer text",
    "time_intervals": "its items depend on today's date, so a run could not be repeated",
}


def instances(
    families: Mapping[str, Mapping[str, Any]], rows: int, seed: int, completions: str | None = None
) -> list[dict[str, Any]]:
    """Return `rows` rows {"prompt", "answer", "family", "task"}, families interleaved in equal shares (the first ones
    get the remainder). From `task`, a JSON text, `task_item` makes the item again.

    `completions` puts "completion" in its place: "worked" for short reasoning that ends in the tagged answer, "bare"
    for the tagged answer alone, "tool_calls" for messages that call the calculator. Raises UserError for an unknown or
    refused family, for one that is no expression with "tool_calls", and for parameters that a family does not accept.
    """
    if completions not in (None, "worked", "bare", "tool_calls"):
        raise UserError(f"completions={completions!r} is not known; use worked or bare, or tool_calls")
    if not families:
        raise UserError("generator.families is empty; name at least one reasoning-gym family, such as chain_sum: {}")
    if rows < 1:
        raise UserError(f"generator.rows={rows} is not accepted; use 1 or more")
    uncalled = [family for family in families if family not in CALCULATED]
    if completions == "tool_calls" and uncalled:
        raise UserError(
            f"generator.completions=tool_calls: {uncalled[0]} is no expression for the calculator; the families that "
            f"are: {', '.join(CALCULATED)}"
        )
    streams = [entries(family, parameters, seed) for family, parameters in families.items()]
    named = list(families.items())
    made = []
    for number in range(rows):
        family, parameters = named[number % len(named)]
        index, entry = next(streams[number % len(streams)])
        task = {"family": family, "parameters": dict(parameters), "seed": seed, "index": index}
        made.append(_row(entry, task, completions))
    return made


def entries(family: str, parameters: Mapping[str, Any], seed: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (index, entry {"family", "question", "answer", "metadata"}) of one family without an end, the same for
    the same seed.
    """
    family_seed = _family_seed(seed, family)
    index = 0
    while True:
        # A new block of VIRTUAL_SIZE items starts where the seeds of the block before it end.
        dataset = _dataset(family, parameters, family_seed + index)
        for offset in range(VIRTUAL_SIZE):
            entry = dataset[offset]
            if not isinstance(entry["answer"], str):
                raise UserError(f"families.{family}: item {index} has no answer text; choose another family")
            if _is_sound(family, entry):
                question, answer = entry["question"].strip(), entry["answer"]
                yield index, {"family": family, "question": question, "answer": answer, "metadata": entry["metadata"]}
            index += 1


def task_item(task: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return (reasoning-gym data set, entry) of the item that a row's column `task` names."""
    index = task["index"]
    offset = index % VIRTUAL_SIZE
    dataset = _dataset(task["family"], task["parameters"], _family_seed(task["seed"], task["family"]) + index - offset)
    return dataset, dataset[offset]


def check_families(families: Mapping[str, Mapping[str, Any]]) -> None:
    """Raise UserError unless every family exists and accepts its parameters; generates nothing."""
    for family, parameters in families.items():
        _dataset(family, parameters, 0)


def _family_seed(seed: int, family: str) -> int:
    """Hashed (31 bits) rather than added: reasoning-gym uses seed + index, so neighbouring seeds share nearly all
    instances.
    """
    return int.from_bytes(hashlib.sha256(f"{seed}/{family}".encode()).digest()[:4], "big") >> 1


def _is_sound(family: str, entry: Mapping[str, Any]) -> bool:
    """Whether an item's answer is right, where reasoning-gym 0.1.25 is known to err.

    basic_arithmetic rounds some quotients down (36 / -7 = -6), and without parentheses it ignores that * and / bind
    stronger (8 + 3 * 4 = 44).
    """
    if family != "basic_arithmetic":
        return True
    try:
        return str(exact_value(entry["metadata"]["expression"], [])) == entry["answer"]
    except ZeroDivisionError:
        return False


def _row(entry: Mapping[str, Any], task: Mapping[str, Any], completions: str | None) -> dict[str, Any]:
    row = {"prompt": entry["question"], "answer": entry["answer"], "family": entry["family"]}
    if completions == "worked":
        row["completion"] = worked_answer(entry["family"], entry["question"], entry["answer"], entry["metadata"])
    elif completions == "bare":
        row["completion"] = bare_answer(entry["answer"])
    elif completions == "tool_calls":
        row["completion"] = tool_conversation(entry["answer"], entry["metadata"])
    else:
        row["task"] = json.dumps(task, sort_keys=True)
    return row


def _dataset(family: str, parameters: Mapping[str, Any], seed: int) -> Any:
    """Build one reasoning-gym data set, turning its complaints into UserError."""
    if family in REFUSED_FAMILIES:
        raise UserError(f"families.{family} is refused: {REFUSED_FAMILIES[family]}")
    reasoning_gym = import_reasoning_gym()
    DATASETS = reasoning_gym.factory.DATASETS

    if family not in DATASETS:
        raise UserError(f"families.{family} is not a reasoning-gym family; {_nearest(family, DATASETS)}")
    accepted = {field.name for field in dataclasses.fields(DATASETS[family][1])} - {"seed", "size"}
    unknown = sorted(set(parameters) - accepted)
    if unknown:
        raise UserError(
            f"families.{family}.{unknown[0]} is not a parameter of this family; accepted: {', '.join(sorted(accepted))}"
        )
    try:
        dataset = reasoning_gym.create_dataset(family, seed=seed, size=VIRTUAL_SIZE, **parameters)
    except (AssertionError, ValueError, TypeError) as error:
        raise UserError(f"families.{family}={dict(parameters)} is not accepted: {error}") from error
    if family == "basic_arithmetic":
        too_long = endless_divisions(vars(dataset.config))
        if too_long is not None:
            raise UserError(f"families.basic_arithmetic: {too_long}")
    return dataset


def endless_divisions(parameters: Mapping[str, Any]) -> str | None:
    """What is wrong with parameters of basic_arithmetic (all of them) under which it would search divisors of values up
    to 10^(terms * digits) one by one.
    """
    terms, digits = parameters["max_terms"], parameters["max_digits"]
    if "/" not in parameters["operators"] or not parameters["allow_parentheses"]:
        return None
    if terms * digits <= MAX_DIVISION_DIGITS:
        return None
    return (
        f"max_terms={terms} x max_digits={digits} is {terms * digits}; with / that can take hours an item; keep it at "
        f"{MAX_DIVISION_DIGITS} or less, or leave / out of operators"
    )


def _nearest(name: str, known: Mapping[str, Any]) -> str:
    import difflib

    close = difflib.get_close_matches(name, known, n=3)
    if close:
        return f"the nearest are {', '.join(close)}"
    return f"accepted are {', '.join(sorted(set(known) - set(REFUSED_FAMILIES)))}"
