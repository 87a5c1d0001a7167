"""How hard each prompt of a GRPO stage is: times seen, pass rate, and a draw of prompts by them.

Every rank counts the same, from rewards that all ranks have, so every rank chooses the same prompts; the counts are
part of the checkpoint. Nothing here knows a trainer.
"""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import torch

from training.difficulty import measured
from training.json_lines import write_lines


class PromptStatistics:
    """Completions seen and passed of each of N prompts, by their row."""

    def __init__(self, prompts: int):
        self.seen_N = torch.zeros(prompts, dtype=torch.long)
        self.passed_N = torch.zeros(prompts, dtype=torch.long)

    def count(self, row: int, passed: list[bool]) -> None:
        """Add the completions of one group; those that could not be scored are not among them."""
        self.seen_N[row] += len(passed)
        self.passed_N[row] += sum(passed)

    @property
    def weights_N(self) -> torch.Tensor:
        """4p(1-p) of each prompt with p = (passed + 1) / (seen + 2), Laplace's estimate: 1 for a prompt not seen yet.

        The variance of a pass, which is what a group has to learn from; it falls towards 0, never to it, where a prompt
        is always or never passed.
        """
        rate_N = (self.passed_N + 1) / (self.seen_N + 2)
        return 4 * rate_N * (1 - rate_N)

    def choose(self, count: int, without: Collection[int], seed: int) -> list[int]:
        """Draw `count` different rows by weight, fewer where there are no more, none of them in `without`."""
        weights_N = self.weights_N
        weights_N[list(without)] = 0.0
        count = min(count, int((weights_N > 0).sum()))
        if count <= 0:
            return []
        generator = torch.Generator().manual_seed(seed)
        rows: list[int] = torch.multinomial(weights_N, count, replacement=False, generator=generator).tolist()
        return rows

    def state(self) -> dict[str, torch.Tensor]:
        """What a checkpoint keeps."""
        return {"seen": self.seen_N, "passed": self.passed_N}

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """Put back what `state` gave."""
        self.seen_N, self.passed_N = state["seen"], state["passed"]

    def write(self, path: Path, prompts: Iterable[Any]) -> None:
        """Write a line for each prompt seen, the whole conversation, in the words of `difficulty.measured`."""
        counts = zip(prompts, self.seen_N.tolist(), self.passed_N.tolist(), strict=True)
        write_lines(path, ({"prompt": prompt, **measured(seen, passed)} for prompt, seen, passed in counts if seen))
