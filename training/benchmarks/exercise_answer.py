"""What a model is asked for an exercise and which files it wrote: Aider's "whole file" format in the chat template.

Wording of the requests after Aider's benchmark (Aider-AI/aider, benchmark/prompts.py, Apache-2.0).
"""

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from training.benchmarks.exercise_files import Exercise
from training.rewards.extract import visible_text

_FENCE = re.compile(r"^(`{3,}|~{3,})[^`]*$")
_FILE = re.compile(r"[\w./+-]+\.\w{1,5}")


def question(exercise: Exercise) -> str:
    """The request: instructions, the stubs, and how to answer."""
    files = "\n\n".join(f"{name}\n```\n{text.rstrip()}\n```" for name, text in exercise.solution.items())
    return (
        f"{exercise.instructions}\n\n####\n\n"
        f"Use the above instructions to modify the supplied files: {_names(exercise)}\n"
        "Don't change the names of existing functions or classes, as they may be referenced from other code like unit "
        "tests, etc.\nOnly use standard libraries, don't suggest installing any packages.\n"
        "Answer with each file you change, whole: its name on a line of its own, then its content between ``` fences."
        f"\n\n{files}"
    )


def second_question(exercise: Exercise, output: str) -> str:
    """The request after tests have failed, with what they printed."""
    return (
        f"{output}\n\n####\n\nSee the testing errors above.\nThe tests are correct, don't try and change them.\n"
        f"Fix the code in {_names(exercise)} to resolve the errors."
    )


def files_written(completion: str, exercise: Exercise) -> dict[str, str]:
    """Return solution file -> text, the last of the blocks under its name.

    In an exercise of one file, where no block has its name, the last block under no file's name is it. Other files, the
    tests among them, are not the model's to write and are left as they are. A block that is not closed was cut off and
    is none.
    """
    found: dict[str, str] = {}
    unnamed: dict[str, str] = {}
    for named, text in _blocks(visible_text(completion, prompt="")):
        target = _target(named, exercise)
        if target is not None:
            found[target] = text
        elif len(exercise.solution) == 1 and not _FILE.fullmatch(_name_in(named)):
            unnamed = {next(iter(exercise.solution)): text}
    return found or unnamed


def _target(named: str, exercise: Exercise) -> str | None:
    """The solution file that a line above a block names."""
    name = _name_in(named)
    for path in exercise.solution:
        if name in (path, PurePosixPath(path).name) or named.rstrip("`*: ").endswith(f"/{path}"):
            return path
    return None


def _name_in(line: str) -> str:
    return re.sub(r"^[\s#*`:/>.-]+|[\s*`:]+$", "", line)


def _blocks(text: str) -> Iterator[tuple[str, str]]:
    """(the last line with text before the block, its content) of each closed block."""
    opened, before = "", ""
    lines: list[str] = []
    for line in text.splitlines():
        fence = _FENCE.match(line)
        if not opened and fence:
            opened, lines = fence[1], []
        elif opened and fence and line.strip() == opened:
            yield before, "\n".join(lines) + "\n"
            opened, before = "", ""
        elif opened:
            lines.append(line)
        elif line.strip():
            before = line.strip()


def _names(exercise: Exercise) -> str:
    return " ".join(exercise.solution)
