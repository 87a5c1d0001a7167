"""How the tests of an exercise are run, by language: what the machine needs, what is compiled, what is started.

Every runner says a word that only this run knows once the tests have passed: a program that leaves early with exit code
0, or that prints what a test runner would, has not said it.
"""

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from training.benchmarks.exercise_files import Exercise
from training.sandbox.runner import SYSTEM, Run, python_command

RUNNERS = Path(__file__).with_name("exercise_runners")
PROGRAM = "{scratch}/tested_program"
WRAP = "-Wl,--wrap=main"


@dataclass(frozen=True)
class Job:
    """What the sandbox runs for an exercise: its command (compilers in `before`) and all files."""

    run: Run
    files: Mapping[str, str]


@dataclass(frozen=True)
class Language:
    """A language's programs (all must be found), how their tests run, and tests that need more than the machine has.

    `compiled` wants the sandbox level that lets compilers start processes. `wants` maps what a test file says to the
    package that it asks for.
    """

    programs: tuple[str, ...]
    job: Callable[[Exercise, dict[str, str], str], Job]
    compiled: bool
    wants: Mapping[str, str]


def why_left_out(exercise: Exercise, sandbox: str) -> str | None:
    """Return why an exercise cannot be run on this machine, None where it can."""
    language = RUN.get(exercise.language)
    if language is None:
        return f"posttrain runs no tests of {exercise.language}"
    missing = [name for name in language.programs if program(name) is None]
    if missing:
        return f"{exercise.language}: no {' and no '.join(missing)} on this machine"
    unseen = [name for name in language.programs if name != "rustc" and not _in_sandbox(program(name) or "")]
    if unseen:
        return (
            f"{exercise.language}: {' and '.join(unseen)} lies outside the system's folders, which alone a sandbox sees"
        )
    if language.compiled and sandbox != "namespaces":
        return f"{exercise.language}: compilers start processes, which sandbox: {sandbox} does not allow"
    for said, package in language.wants.items():
        if any(said in text for text in exercise.tests.values()):
            return f"{exercise.language}: its tests need {package}, which the sandbox has not"
    if exercise.language == "rust" and (exercise.crates or len(exercise.tests) > 1):
        return f"rust: {'needs crates from the network' if exercise.crates else 'has several files of tests'}"
    return None


def toolchain(language: str) -> dict[str, str]:
    """The versions of a language's programs, as they say them."""
    return {name: _version(found) for name in RUN[language].programs if (found := program(name)) is not None}


def readable(language: str) -> tuple[str, ...]:
    """Folders of this machine, beside the system's, that a language's programs lie in."""
    return () if language != "rust" else (str(_sysroot()),)


@functools.cache
def program(name: str) -> str | None:
    """The absolute path of a program that the sandbox can start; of rustup's stand-in, what it stands for."""
    if name == "rustc":
        root = _sysroot()
        return None if root is None else str(root / "bin" / "rustc")
    found = shutil.which(name)  # its name stays: a compiler's cache tells by it what it stands for
    return None if found is None else os.path.join(os.path.realpath(os.path.dirname(found)), os.path.basename(found))


def _in_sandbox(path: str) -> bool:
    return all(place.startswith(tuple(f"{root}/" for root in SYSTEM)) for place in (path, os.path.realpath(path)))


@functools.cache
def _sysroot() -> Path | None:
    found = shutil.which("rustc")
    if found is None:
        return None
    told = subprocess.run([found, "--print", "sysroot"], capture_output=True, text=True, check=False)
    root = Path(told.stdout.strip()).resolve()
    return root if told.returncode == 0 and (root / "bin" / "rustc").is_file() else None


def _version(path: str) -> str:
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return (told.stdout.strip().splitlines() or ["unknown"])[0]


def _need(name: str) -> str:
    found = program(name)
    assert found is not None, name
    return found


def _python(exercise: Exercise, files: dict[str, str], word: str) -> Job:
    modules = [name.removesuffix(".py").replace("/", ".") for name in exercise.tests if name.endswith(".py")]
    own = {"posttrain_tests.py": (RUNNERS / "run_unittest.py").read_text(encoding="utf-8")}
    return Job(Run(python_command("posttrain_tests.py", *modules), stdin=f"{word}\n"), files | own)


def _javascript(exercise: Exercise, files: dict[str, str], word: str) -> Job:
    specs = [name for name in exercise.tests if name.endswith((".js", ".mjs", ".cjs"))]
    own = {
        "posttrain_first.mjs": (RUNNERS / "first.mjs").read_text(encoding="utf-8"),
        "posttrain_tests.mjs": "".join(f'import "./{name}";\n' for name in specs),
    }
    options = ["--max-old-space-size=256", "--import=./posttrain_first.mjs", "--test-reporter=./posttrain_first.mjs"]
    return Job(Run([_need("node"), *options, "posttrain_tests.mjs"], stdin=word), files | own)


def _c(exercise: Exercise, files: dict[str, str], word: str) -> Job:
    """C with Unity or with a `main` of the tests' own; Exercism's C tests ignore all but the first until asked."""
    tests = {name: re.sub(r"\bTEST_IGNORE\(\);", "", text) for name, text in exercise.tests.items()}
    command = [_need("gcc"), "-std=gnu17", "-O1"]
    return _linked(command, files | tests, (".c",), ["-lm"], word)


def _cpp(exercise: Exercise, files: dict[str, str], word: str) -> Job:
    """C++ with Catch2 in the exercise's own folder, or with a `main` of the tests' own."""
    command = [_need("g++"), "-std=c++17", "-O0", "-DEXERCISM_RUN_ALL_TESTS"]
    return _linked(command, files, (".cpp", ".cc"), [], word)


def _linked(command: list[str], files: dict[str, str], endings: tuple[str, ...], more: list[str], word: str) -> Job:
    sources = [name for name in files if name.endswith(endings)]
    own = {"posttrain_main.c": (RUNNERS / "wrapped_main.c").read_text(encoding="utf-8")}
    build = [*command, "-I.", "-o", PROGRAM, *sources, "posttrain_main.c", *more, WRAP]
    return Job(Run([PROGRAM], stdin=word, before=(build,)), files | own)


def _rust(exercise: Exercise, files: dict[str, str], word: str) -> Job:
    """The crate, then one test file after the other, whose harness (libtest) has a `main` too."""
    name = Path(exercise.name).name.replace("-", "_")
    (tests,) = exercise.tests
    own = {"posttrain_main.c": (RUNNERS / "wrapped_main.c").read_text(encoding="utf-8")}
    edition = re.search(r'^edition\s*=\s*"(\d+)"', files.get("Cargo.toml", ""), re.MULTILINE)
    rustc = [_need("rustc"), f"--edition={edition[1] if edition else '2021'}", "--cap-lints=allow"]
    link = [f"-Clinker={_need('gcc')}", "-Clink-arg=posttrain_main.o", f"-Clink-arg={WRAP}"]
    before = (
        [_need("gcc"), "-c", "-o", "posttrain_main.o", "posttrain_main.c"],
        [*rustc, "--crate-type=rlib", f"--crate-name={name}", next(iter(exercise.solution))],
        [*rustc, "--test", f"--extern={name}=lib{name}.rlib", "-o", PROGRAM, tests, *link],
    )
    return Job(Run([PROGRAM, "--include-ignored", "--test-threads=1"], stdin=word, before=before), files | own)


RUN: dict[str, Language] = {
    "python": Language((), _python, False, {"import pytest": "pytest"}),
    "javascript": Language(("node",), _javascript, False, {"@jest/globals": "jest"}),
    "c": Language(("gcc",), _c, True, {}),
    "cpp": Language(("g++",), _cpp, True, {}),
    "rust": Language(("rustc", "gcc"), _rust, True, {}),
}
"""Language -> how its tests run. Others are named as left out."""
