"""Prompts that a `sample` stage has drawn and scored, kept in its folder until it is recorded.

A stage that was killed goes on behind them. Each rank appends to a file of its own, a line for each group of prompts
that were decoded together, on disk before the next group is drawn: a group is there as a whole or not at all. The files
of all ranks are read, so that another number of ranks goes on as well. A prompt that is there twice was scored again,
since at first it could not be.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from training.identity import canonical_json, sha256_text
from training.json_lines import Appender, lines_below

FINISHED_PROMPTS = "finished_prompts"
"""The folder inside the stage's own; it goes when the record is there."""

Row = dict[str, Any]


def prompt_keys(rows: list[Row]) -> list[str]:
    """Return what names each row: a hash of its content, and how many equal rows came before it."""
    seen: Counter[str] = Counter()
    keys = []
    for row in rows:
        digest = sha256_text(canonical_json(row))
        keys.append(f"{digest}/{seen[digest]}")
        seen[digest] += 1
    return keys


class FinishedPrompts:
    """The finished prompts of a stage by key; `add` makes some last, `rows` has all that any rank finished."""

    def __init__(self, stage_folder: Path, rank: int) -> None:
        folder = stage_folder / FINISHED_PROMPTS
        folder.mkdir(parents=True, exist_ok=True)
        self.rows: dict[str, Row] = {}
        for group in lines_below(folder):
            self.rows |= {key: row for key, row in group.items() if key not in self.rows or not self.scored(key)}
        self._file = Appender(folder / f"{rank}.jsonl")

    def __contains__(self, key: str) -> bool:
        return key in self.rows

    def scored(self, key: str) -> bool:
        """Whether every draw of a prompt that is there could be scored."""
        return not any("error" in draw for draw in self.rows[key]["draws"])

    def add(self, finished: dict[str, Row]) -> None:
        """Write finished prompts to disk; they are there when this returns."""
        self._file.add(finished, to_disk=True)
        self.rows |= finished

    def close(self) -> None:
        """Close the file."""
        self._file.close()
