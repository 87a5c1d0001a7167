"""Coding exercises in several languages: what is asked, what counts as passed, what is left out and said."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from tests import stage_runs
from tests.exercise_folders import RIGHT, write_exercise
from tests.sandbox_marks import needs_sandbox
from training.benchmarks import exercise_languages
from training.benchmarks.exercise_answer import files_written, question
from training.benchmarks.exercise_files import Exercise, exercises_identity, read_exercises
from training.benchmarks.exercise_languages import why_left_out
from training.benchmarks.exercise_verdict import place_of, run_tests
from training.benchmarks.exercises_run import chosen, metrics_of, require_exercises
from training.config.benchmarks import Exercises
from training.decode import Decoder, Drawn
from training.estimates import wilson_interval
from training.record import read_record

# files and questions


def exercise(folder: Path, language: str, **more: Any) -> Exercise:
    write_exercise(folder, language, **more)
    (found,) = read_exercises(folder)
    return found


def test_the_example_solution_reaches_neither_the_question_nor_the_sandbox(tmp_path: Path) -> None:
    found = exercise(tmp_path, "rust")
    assert (found.name, found.language) == ("rust/doubling", "rust")
    assert "doubles a number" in question(found)
    assert "pub fn twice" in question(found)
    assert "SECRET" not in question(found) + str(vars(found))
    assert "of_three" not in question(found)


def test_identity_is_of_contents_and_not_of_the_place(tmp_path: Path) -> None:
    for place in ("here", "there"):
        write_exercise(tmp_path / place, "python")
    here, there = (exercises_identity(tmp_path / place) for place in ("here", "there"))
    assert here == there
    next((tmp_path / "there").rglob("doubling_test.py")).write_text("import unittest\n")
    assert exercises_identity(tmp_path / "there") != here


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("{", "files.solution and files.test"),
        ('{"files": {"solution": ["doubling.py"], "test": "doubling_test.py"}}', "is no list of paths"),
        ('{"files": {"solution": ["gone.py"], "test": ["doubling_test.py"]}}', "gone.py, which is not there"),
        ('{"files": {"solution": ["doubling.py"], "test": []}}', "no files.test"),
    ],
)
def test_a_folder_that_is_no_exercise_is_refused(tmp_path: Path, config: str, said: str) -> None:
    (write_exercise(tmp_path, "python") / ".meta" / "config.json").write_text(config)
    with pytest.raises(UserError, match=said):
        read_exercises(tmp_path)


def test_a_folder_without_exercises_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no exercise"):
        read_exercises(tmp_path)


# answers


def test_the_last_block_is_the_only_file_and_a_name_above_a_block_chooses_among_several(tmp_path: Path) -> None:
    one = exercise(tmp_path / "one", "python")
    assert files_written("Try:\n```\nx\n```\nBetter:\n```python\ny = 1\n```\n", one) == {"doubling.py": "y = 1\n"}
    assert files_written("```python\ncut off", one) == {}
    used = "doubling.py\n```python\ny = 1\n```\nUse it so:\n```python\nprint(y)\n```\n"
    assert files_written(used, one) == {"doubling.py": "y = 1\n"}
    assert files_written(f"```\nx\n```\n{used}", one) == {"doubling.py": "y = 1\n"}
    two = exercise(tmp_path / "two", "c")
    answer = "src/doubling.c\n```c\nA\n```\n**`doubling.h`**:\n```c\nB\n```\nand\n```c\nC\n```\n"
    assert files_written(answer, two) == {"src/doubling.c": "A\n", "src/doubling.h": "B\n"}


def test_a_block_that_names_the_tests_replaces_nothing(tmp_path: Path) -> None:
    one = exercise(tmp_path, "python")
    assert files_written("doubling_test.py\n```python\npass\n```\n", one) == {}
    assert one.files({"doubling_test.py": "pass"})["doubling_test.py"] != "pass"


# left out


def test_languages_that_are_not_here_are_left_out_with_their_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for language in ("python", "go", "c"):
        write_exercise(tmp_path, language)
    write_exercise(tmp_path, "python", "jest", {"jest_test.py": "import pytest\n"})
    monkeypatch.setattr(exercise_languages, "program", lambda name: None)
    block = Exercises(path=str(tmp_path))
    asked, left_out = chosen(block)
    assert [each.name for each in asked] == ["python/doubling"]
    assert left_out == {
        "c: no gcc on this machine": 1,
        "posttrain runs no tests of go": 1,
        "python: its tests need pytest, which the sandbox has not": 1,
    }
    with pytest.raises(UserError, match=r"no exercise of .* can be run: 1 left out .c: no gcc"):
        require_exercises("poly", block.model_copy(update={"languages": ["c"]}))


def test_limit_counts_by_language_and_compilers_need_namespaces(tmp_path: Path) -> None:
    for name in ("b", "a"):
        write_exercise(tmp_path, "python", name)
        write_exercise(tmp_path, "cpp", name)
    asked, _ = chosen(Exercises(path=str(tmp_path), limit=1, languages=["python"]))
    assert [each.name for each in asked] == ["python/a"]
    cpp = next(each for each in read_exercises(tmp_path) if each.language == "cpp")
    if shutil.which("g++"):
        assert "which sandbox: landlock does not allow" in str(why_left_out(cpp, "landlock"))


# verdicts


@needs_sandbox
@pytest.mark.parametrize("language", list(RIGHT))
def test_a_right_answer_passes_and_the_stub_fails(tmp_path: Path, language: str) -> None:
    found = exercise(tmp_path, language)
    reason = why_left_out(found, "namespaces")
    if reason is not None:
        pytest.skip(reason)
    place = place_of(language, "namespaces", 5.0, 2048)
    passed, output = run_tests(found, RIGHT[language], place)
    assert passed, output
    assert not run_tests(found, {}, place)[0]


CHEATS = {
    "leaves with exit code 0": "import os\nos._exit(0)\n",
    "says what a runner says": "import os\nprint('Ran 2 tests in 0.0s\\n\\nOK', flush=True)\nos._exit(0)\n",
    "skips": "import unittest\ndef twice(x):\n    raise unittest.SkipTest('no')\n",
    "replaces assertions": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\n"
    "def twice(x):\n    if x is None:\n        raise ValueError\n",
    "replaces the tests": "open('doubling_test.py', 'w').write('')\ndef twice(x):\n    return 4\n",
    "hangs": "while True:\n    pass\n",
    "sleeps": "import time\ntime.sleep(60)\n",
    "starts a process": "import subprocess\nsubprocess.run(['/bin/true'])\n" + RIGHT["python"]["doubling.py"],
    "prints without end": "while True:\n    print('x' * 10000)\n",
}


@needs_sandbox
@pytest.mark.parametrize("cheat", list(CHEATS))
def test_a_python_answer_that_cheats_or_hangs_does_not_pass(tmp_path: Path, cheat: str) -> None:
    found = exercise(tmp_path, "python")
    passed, output = run_tests(found, {"doubling.py": CHEATS[cheat]}, place_of("python", "namespaces", 1.0, 2048))
    assert not passed, output
    if cheat in ("hangs", "sleeps"):
        assert "did not end in time" in output
    if cheat == "starts a process":
        assert "PermissionError" in output


C_CHEATS = {
    "leaves before main": "__attribute__((constructor)) void early(void) { _exit(0); }\n"
    "int twice(int x) { return 4; }\n",
    "leaves in a test": "int twice(int x) { exit(0); }\n",
    "starts a process": "int twice(int x) { return fork() == -1 ? 5 : 4; }\n",
    "runs what is not closed": "int twice(int x) {\n",
}


@needs_sandbox
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
@pytest.mark.parametrize("cheat", list(C_CHEATS))
def test_a_c_answer_that_cheats_does_not_pass(tmp_path: Path, cheat: str) -> None:
    """The program may start no process although its compiler could."""
    found = exercise(tmp_path, "c")
    program = f"#include <stdlib.h>\n#include <unistd.h>\n{C_CHEATS[cheat]}"
    passed, output = run_tests(found, {"src/doubling.c": program}, place_of("c", "namespaces", 2.0, 2048))
    assert not passed, output
    if cheat == "starts a process":
        assert "twice(2) is 5" in output
    if cheat == "runs what is not closed":
        assert "src/doubling.c" in output


# metrics


def test_the_pass_rate_is_after_all_tries_with_the_first_beside_it() -> None:
    def row(language: str, *tries: int) -> dict[str, Any]:
        outcomes = [{"correct": each} for each in tries]
        return {"family": language, "correct": tries[-1], "tokens": 4, "truncated": False, "tries": outcomes}

    found = metrics_of([row("python", 1), row("python", 0, 1), row("python", 0, 0)], {"go: no go": 2})
    assert (found["accuracy"], found["n"], found["ci95"]) == (2 / 3, 3, list(wilson_interval(2, 3)))
    assert found["first_try"]["accuracy"] == 1 / 3
    assert found["languages"]["python"]["n"] == 3
    assert (found["left_out"], found["left_out_total"]) == ({"go: no go": 2}, 2)


@needs_sandbox
def test_an_evaluation_asks_again_with_the_output_and_records_what_was_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two exercises one is solved at the second try; the model itself is replaced, everything else is real.

    The evaluation has no suite.
    """
    for name in ("doubling", "other"):
        write_exercise(tmp_path / "exercises", "python", name)
    write_exercise(tmp_path / "exercises", "go")
    asked: list[list[list[dict[str, str]]]] = []

    def draw(self: Decoder, prompts: list[list[dict[str, str]]], *_: Any, **__: Any) -> list[Drawn]:
        asked.append(prompts)
        wrong, right = "def twice(x):\n    return x + 3\n", RIGHT["python"]["doubling.py"]
        texts = [wrong if place or len(asked) == 1 else right for place in range(len(prompts))]
        return [Drawn(f"```python\n{text}```", 7, False) for text in texts]

    monkeypatch.setattr(Decoder, "draw", draw)
    stage = {"name": "e", "kind": "evaluate", "benchmarks": ["code"]}
    tops = {"benchmarks": {"code": {"exercises": {"path": str(tmp_path / "exercises"), "timeout_s": 5}}}}
    config = stage_runs.write_pipeline(tmp_path, stage, **tops)
    assert [stage_runs.run_stage(config, name) for name in ("base", "e")] == [0, 0]
    folder = stage_runs.planned(config, "e").folder
    metrics = (read_record(folder) or {})["metrics"]
    assert list(metrics) == ["code"]
    found = metrics["code"]
    assert (found["accuracy"], found["n"], found["first_try"]["accuracy"]) == (0.5, 2, 0.0)
    assert found["left_out"] == {"posttrain runs no tests of go": 1}
    assert [len(chat) for chat in asked[1]] == [3, 3]
    assert "5 != 4" in asked[1][0][-1]["content"]
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert [(row["item"], len(row["tries"])) for row in rows] == [("python/doubling", 2), ("python/other", 2)]
