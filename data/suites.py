"""Items of evaluation suites: the same questions for every model, none of them one that a stage trains on.

An item equal to a training prompt (whitespace aside) is replaced by the next seed's instance, or a file's next row,
and counted. An item equal to an earlier one of the suite is passed over too, so that n items are n different
questions; that is not counted.
"""

from collections.abc import Callable, Iterator
from typing import Any

from data.errors import UserError
from data.formats import convert, normalise
from data.generators import entries
from data.sources import load_rows

PATIENCE = 2000
"""Instances in a row that bring nothing new before a family counts as used up."""


def suite_items(
    name: str, suite: Any, seed: int, training_prompts: set[str], pin: Callable[[str], str] | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Return (items {"item", "prompt", "answer", "family"}, how many were replaced) of the suite `name`.

    `seed` is used by a generator that names none; `training_prompts` comes from `data.formats.prompt_texts`; `pin`
    gives the commit of hub data. "item" names the question (family/index, or row/number), the same in every
    evaluation. Families are interleaved in equal shares. Raises UserError when the data cannot give `suite.items`
    different questions, and for rows without an answer.
    """
    sources = _streams(name, suite, seed, pin)
    seen: set[str] = set()
    items: list[dict[str, Any]] = []
    replaced = 0
    while len(items) < suite.items:
        item, passed = _next_new(name, suite, sources[len(items) % len(sources)], seen, training_prompts)
        seen.add(normalise(item["prompt"]))
        items.append(item)
        replaced += passed
    return items, replaced


def suite_questions(name: str, suite: Any, seed: int, pin: Callable[[str], str] | None = None) -> list[dict[str, Any]]:
    """Return every question that the suite may ask, whatever is trained on: all rows of a file or hub data set; of a
    generator, the items it gives before any is replaced.
    """
    if suite.data.generator is None:
        return list(_row_items(name, suite, seed, pin))
    return suite_items(name, suite, seed, set(), pin)[0]


def _next_new(
    name: str, suite: Any, stream: Iterator[dict[str, Any]], seen: set[str], training_prompts: set[str]
) -> tuple[dict[str, Any], int]:
    passed, tried, last = 0, 0, None
    for item in stream:
        text = normalise(item["prompt"])
        if text not in seen and text not in training_prompts:
            return item, passed
        passed += text in training_prompts and text not in seen
        tried, last = tried + 1, item
        if tried == PATIENCE:
            break
    where = f" ({last['family']})" if last is not None and last["family"] else ""
    raise UserError(
        f"suites.{name}.items={suite.items}: the data{where} gave {len(seen)} different questions that no stage "
        "trains on, and then no more; ask for fewer items, or give more rows or a family with larger numbers"
    )


def _streams(name: str, suite: Any, seed: int, pin: Callable[[str], str] | None) -> list[Iterator[dict[str, Any]]]:
    """One endless stream of items for each family of a generator, or one stream of a file's rows."""
    generator = suite.data.generator
    if generator is None:
        return [_row_items(name, suite, seed, pin)]
    chosen = seed if generator.seed is None else generator.seed
    return [_family_items(family, parameters, chosen) for family, parameters in generator.families.items()]


def _family_items(family: str, parameters: dict[str, Any], seed: int) -> Iterator[dict[str, Any]]:
    for index, entry in entries(family, parameters, seed):
        yield {"item": f"{family}/{index}", "prompt": entry["question"], "answer": entry["answer"], "family": family}


def _row_items(name: str, suite: Any, seed: int, pin: Callable[[str], str] | None) -> Iterator[dict[str, Any]]:
    try:
        found = convert(load_rows(suite.data, seed, pin=pin), "prompt", form=suite.data.format)
    except UserError as error:
        raise UserError(f"suites.{name}.data: {error}") from error
    for number, row in zip(found.numbers, found.rows, strict=True):
        answer = row.get("answer")
        if answer is None or not str(answer).strip():
            raise UserError(
                f"suites.{name}.data: row {number} has no answer; found the columns {', '.join(sorted(row))}, "
                "map yours with data.columns, for example columns: {answer: label}"
            )
        yield {
            "item": f"row/{number}",
            "prompt": _question(name, row["prompt"], number),
            "answer": str(answer),
            "family": row.get("family"),
        }


def _question(name: str, prompt: list[dict[str, str]], number: int) -> str:
    """Return the text of a prompt that is one user message."""
    if len(prompt) != 1:
        raise UserError(f"suites.{name}.data: row {number} needs a prompt that is a text or one user message")
    return prompt[0]["content"]
