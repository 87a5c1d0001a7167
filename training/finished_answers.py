"""Answers that an `evaluate` stage has decoded, kept in its folder until it is recorded.

A stage that was killed goes on behind them. A line holds the token ids of a batch that was decoded together, under a
hash of everything that decides them but the weights, which are the stage's own: a batch is there as a whole or not at
all, and another batch of the same prompts is another line. Each rank appends to a file of its own and reads all.
"""

from pathlib import Path
from typing import Any

from training.identity import canonical_json, sha256_text
from training.json_lines import Appender, lines_below

FINISHED_ANSWERS = "finished_answers"
"""The folder inside the stage's own; it goes when the record is there."""


class FinishedAnswers:
    """The finished batches of a stage by key."""

    def __init__(self, stage_folder: Path, rank: int) -> None:
        folder = stage_folder / FINISHED_ANSWERS
        self.batches: dict[str, list[list[int]]] = {row["key"]: row["ids"] for row in lines_below(folder)}
        self._file = Appender(folder / f"{rank}.jsonl")

    def of(self, call: dict[str, Any]) -> "FinishedBatches":
        """The batches of one call of `rollout.generate`; `call` holds what decides its answers."""
        return FinishedBatches(self, sha256_text(canonical_json(call)))

    def add(self, key: str, ids: list[list[int]]) -> None:
        """Write a batch to disk; it is there when this returns."""
        self._file.add({"key": key, "ids": ids}, to_disk=True)
        self.batches[key] = ids

    def close(self) -> None:
        """Close the file; another `add` opens it again."""
        self._file.close()


class FinishedBatches:
    """What `rollout.generate` asks before it decodes the prompts at some places together, and tells afterwards."""

    def __init__(self, answers: FinishedAnswers, call: str) -> None:
        self._answers, self._call = answers, call

    def _key(self, places: list[int]) -> str:
        return sha256_text(canonical_json([self._call, places]))

    def get(self, places: list[int]) -> list[list[int]] | None:
        """The completions of a batch that is finished."""
        return self._answers.batches.get(self._key(places))

    def add(self, places: list[int], ids: list[list[int]]) -> None:
        """A batch is finished."""
        self._answers.add(self._key(places), ids)
