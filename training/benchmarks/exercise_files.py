"""A folder of coding exercises in Exercism's layout, as Aider's polyglot benchmark has them: what is read from it.

An exercise is a folder with `.meta/config.json` (`files.solution`, `files.test`) and `.docs/instructions.md`. What lies
in `.meta` and `.docs` (among it the example solution) never reaches the model nor the sandbox. Imports no torch.
"""

import json
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.identity import fingerprint

LANGUAGES = {
    ".py": "python",
    ".c": "c",
    ".cpp": "cpp",
    ".cc": "cpp",
    ".js": "javascript",
    ".mjs": "javascript",
    ".rs": "rust",
    ".go": "go",
    ".java": "java",
}
"""Ending of the first solution file -> the language's name here."""

DOCS = ("introduction.md", "instructions.md", "instructions.append.md")
BUILD_FILES = ("CMakeLists.txt", "Cargo.toml")
"""Listed as solutions by some tracks; how a program is built is not the model's to write (as in Aider)."""
MAX_BYTES = 4_000_000


@dataclass(frozen=True)
class Exercise:
    """One exercise: its name ("python/two-fer"), texts by path within its folder, and what the model is asked."""

    name: str
    language: str
    instructions: str
    solution: Mapping[str, str]
    tests: Mapping[str, str]
    others: Mapping[str, str]

    def files(self, written: Mapping[str, str]) -> dict[str, str]:
        """All files with the model's in place of the stubs; the tests come last, so that nothing replaces them."""
        return {**self.others, **self.solution, **written, **self.tests}

    @property
    def crates(self) -> list[str]:
        """The packages that a Rust exercise wants beside its own."""
        try:
            manifest = tomllib.loads(self.others.get("Cargo.toml", ""))
            kinds = ("dependencies", "dev-dependencies", "build-dependencies")
            return sorted({name for kind in kinds for name in manifest.get(kind, {})})
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"exercise {self.name}: Cargo.toml: {error}") from error


def read_exercises(folder: Path, languages: Collection[str] | None = None) -> list[Exercise]:
    """Return the exercises below `folder`, those of `languages` or (None) all, by name.

    Raises UserError where there are none or one cannot be read.
    """
    configs = sorted(folder.glob("**/.meta/config.json"))
    if not configs:
        raise UserError(
            f"{folder} holds no exercise: an exercise is a folder with .meta/config.json and .docs/instructions.md "
            "(docs/benchmarks.md shows one)"
        )
    found = sorted((_read(config.parent.parent, folder) for config in configs), key=lambda each: each.name)
    return [each for each in found if languages is None or each.language in languages]


def exercises_identity(folder: Path) -> str:
    """Return the sha256 over the names and contents of all exercises; where the folder lies does not matter."""
    return fingerprint({each.name: {**vars(each)} for each in read_exercises(folder)})


def _read(home: Path, folder: Path) -> Exercise:
    listed = _listed(home / ".meta" / "config.json")
    texts = {str(path.relative_to(home)): path for path in sorted(home.rglob("*")) if _is_shown(path, home)}
    size = sum(path.stat().st_size for path in texts.values())
    if size > MAX_BYTES:
        raise UserError(f"exercise {home} holds {size} bytes; at most {MAX_BYTES} are taken into the sandbox")
    contents = {name: _text(path) for name, path in texts.items()}
    missing = [name for name in (*listed["solution"], *listed["test"]) if name not in contents]
    if missing:
        raise UserError(f"exercise {home}: .meta/config.json names {', '.join(missing)}, which is not there")
    solution = [name for name in listed["solution"] if name not in BUILD_FILES]
    instructions = "\n\n".join(
        _text(path).strip() for path in (home / ".docs" / name for name in DOCS) if path.is_file()
    )
    if not solution or not listed["test"] or not instructions:
        what = "files.solution" if not solution else "files.test" if not listed["test"] else ".docs/instructions.md"
        raise UserError(f"exercise {home} has no {what}")
    own = {*solution, *listed["test"]}
    parts = [part for part in home.relative_to(folder).parts if part not in ("exercises", "practice")]
    return Exercise(
        name="/".join(parts) or home.name,
        language=LANGUAGES.get(Path(solution[0]).suffix, Path(solution[0]).suffix or solution[0]),
        instructions=instructions,
        solution={name: contents[name] for name in solution},
        tests={name: contents[name] for name in listed["test"]},
        others={name: text for name, text in contents.items() if name not in own},
    )


def _listed(path: Path) -> dict[str, list[str]]:
    """`files` of a config: {"solution": [...], "test": [...]}."""
    try:
        found: Any = json.loads(_text(path))
        files = {key: found["files"][key] for key in ("solution", "test")}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: needs files.solution and files.test, two lists of paths ({error!r})") from error
    for key, names in files.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise UserError(f"{path}: files.{key}={names!r} is no list of paths")
    return files


def _is_shown(path: Path, home: Path) -> bool:
    within = path.relative_to(home).parts
    return path.is_file() and not path.is_symlink() and within[0] not in (".meta", ".docs")


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path} cannot be read as text: {error}") from error
