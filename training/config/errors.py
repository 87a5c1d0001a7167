"""What is wrong with a pipeline file: one problem per mistake, all of them in one message."""

from __future__ import annotations

from dataclasses import dataclass

from data.errors import UserError


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where it stands, and what to do about it."""

    line: int
    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class ConfigError(UserError):
    """The pipeline file cannot be used; `problems` holds every mistake found, in the order of the file's lines."""

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = sorted(set(problems))
        super().__init__("\n".join(str(problem) for problem in self.problems))
