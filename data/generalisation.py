"""Items that tell generalising from recalling: trained rows, and what differs from them in one way each.

- trained: rows that a stage trains on;
- reworded: the same rows in other words (`data.rewording`);
- fresh: instances of the same families and parameters that no stage trains on;
- harder: instances of the same families with their difficulty raised (`data.harder`);
- unseen: families that no stage trains on.

Every model of a pipeline is asked the same items. An item's "stages" are the stages that train on it or its family;
None where none does. Shares of families are equal in each part; a family that runs out of different questions gives
fewer, so that a part may have fewer items than asked.
"""

import itertools
import random
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from data.errors import UserError
from data.formats import normalise
from data.generators import entries
from data.harder import harder_parameters
from data.rewording import reworded
from data.suites import PATIENCE

PARTS = ("trained", "reworded", "fresh", "harder", "unseen")

UNSEEN: dict[str, dict[str, Any]] = {
    "basic_arithmetic": {"min_terms": 2, "max_terms": 2, "max_digits": 1, "operators": ["+", "-", "*"]},
    "decimal_chain_sum": {"min_terms": 2, "max_terms": 2, "max_digits": 1, "max_decimal_places": 1},
    "gcd": {"min_value": 2, "max_value": 30},
    "letter_counting": {"min_words": 1, "max_words": 2},
    "leg_counting": {"min_animals": 1, "max_animals": 2, "max_instances": 5},
    "chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 2},
}
"""Easy families with short answers: of these, those that no stage trains on stand for tasks never seen."""

Item = dict[str, Any]


@dataclass(frozen=True)
class TrainedFamily:
    """One family with the parameters and the stages it is trained with, and those of its rows in order."""

    family: str
    parameters: dict[str, Any]
    stages: tuple[str, ...]
    rows: tuple[Item, ...]
    """{"item", "prompt", "answer", "stages"}: every row that a stage trains on."""


def unseen_families(trained: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the families of `UNSEEN` that are not among `trained`."""
    left_out = set(trained)
    return {family: parameters for family, parameters in UNSEEN.items() if family not in left_out}


def trained_items(families: Sequence[TrainedFamily], count: int, seed: int) -> list[Item]:
    """Return at most `count` trained rows, families in turn, drawn by `seed`."""
    streams = []
    for place, known in enumerate(families):
        rows = list(known.rows)
        random.Random(f"{seed}:{place}").shuffle(rows)
        streams.append(iter([_item("trained", known.family, row, row["item"], row["stages"]) for row in rows]))
    return list(itertools.islice(_in_turn(streams), count))


def reworded_items(trained: Sequence[Item]) -> list[Item]:
    """Return the trained items in other words, under the same names, so that the two can be paired."""
    items = []
    for item in trained:
        prompt, how = reworded(item["family"], item["prompt"])
        items.append({**item, "suite": suite_of("reworded"), "prompt": prompt, "rewording": how})
    return items


def fresh_items(families: Sequence[TrainedFamily], count: int, seed: int, taken: set[str]) -> list[Item]:
    """Return instances with the trained parameters whose prompts are not in `taken` (normalised)."""
    named = [(known.family, known.parameters, list(known.stages)) for known in families]
    return _made("fresh", named, count, seed, taken)


def harder_items(
    raised: Mapping[str, Mapping[str, Any]], families: Sequence[TrainedFamily], count: int, seed: int, taken: set[str]
) -> list[Item]:
    """Return instances of `raised`, the families with their harder parameters."""
    named = []
    for family, parameters in raised.items():
        stages = {stage for known in families if known.family == family for stage in known.stages}
        named.append((family, parameters, sorted(stages)))
    return _made("harder", named, count, seed, taken)


def unseen_items(families: Mapping[str, Mapping[str, Any]], count: int, seed: int, taken: set[str]) -> list[Item]:
    """Return instances of families that no stage trains on."""
    return _made("unseen", [(family, parameters, None) for family, parameters in families.items()], count, seed, taken)


def raised_parameters(
    trained: Mapping[str, Sequence[Mapping[str, Any]]], given: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
    """Return (family -> harder parameters, family -> why it has none); `given` are the user's own."""
    raised: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    for family, parameters in trained.items():
        if family in given:
            raised[family] = dict(given[family])
            continue
        try:
            raised[family] = harder_parameters(family, parameters)
        except UserError as error:
            left_out[family] = str(error)
    return raised, left_out


def suite_of(part: str) -> str:
    """Return the name under which a part's items stand in items.jsonl."""
    return f"generalisation/{part}"


def counts_for(own: Collection[str], stages: Sequence[str] | None) -> bool:
    """Whether an item belongs to a model that the stages `own` trained: theirs, or of a family that none trains on."""
    return stages is None or not set(own).isdisjoint(stages)


def _made(
    part: str,
    families: Sequence[tuple[str, Mapping[str, Any], list[str] | None]],
    count: int,
    seed: int,
    taken: set[str],
) -> list[Item]:
    seen: set[str] = set(taken)
    streams = [
        _instances(part, f"{place}/{family}", family, parameters, seed, stages, seen)
        for place, (family, parameters, stages) in enumerate(families)
    ]
    return list(itertools.islice(_in_turn(streams), count))


def _instances(
    part: str,
    name: str,
    family: str,
    parameters: Mapping[str, Any],
    seed: int,
    stages: list[str] | None,
    seen: set[str],
) -> Iterator[Item]:
    """New questions of one family until `PATIENCE` in a row bring none; `seen` is added to."""
    tried = 0
    for index, entry in entries(family, parameters, seed):
        text = normalise(entry["question"])
        if text not in seen:
            seen.add(text)
            tried = 0
            row = {"prompt": entry["question"], "answer": entry["answer"]}
            yield _item(part, family, row, f"{name}/{index}", stages)
        tried += 1
        if tried == PATIENCE:
            return


def _item(part: str, family: str, row: Item, name: str, stages: Sequence[str] | None) -> Item:
    return {
        "suite": suite_of(part),
        "item": name,
        "prompt": row["prompt"],
        "answer": row["answer"],
        "family": family,
        "stages": None if stages is None else list(stages),
    }


def _in_turn(streams: Sequence[Iterator[Item]]) -> Iterator[Item]:
    """One of each stream in turn; a stream that ends is left out from there on."""
    left = list(streams)
    while left:
        for stream in list(left):
            item = next(stream, None)
            if item is None:
                left.remove(stream)
            else:
                yield item
