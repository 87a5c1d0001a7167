"""The rules that keep the rooms apart: who imports whom, no stolen names, a command line without torch."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {"data": {"data"}, "training": {"training", "data"}, "launch": {"launch", "training", "data"}}
SOURCES = sorted(path for room in MAY_IMPORT for path in (ROOT / room).rglob("*.py"))
HEAVY = ("torch", "trl", "transformers", "datasets", "accelerate", "deepspeed", "peft", "wandb", "reasoning_gym")
LIGHT = [
    "data",
    "launch.cli",
    "launch.run",
    "launch.status",
    "launch.lineage",
    "launch.clean",
    "launch.compare_command",
    "launch.screen",
    "launch.watch",
    "launch.plan_text",
    "training.config",
    "training.identity",
    "training.record",
    "training.run_folder",
    "training.plan",
    "training.environment",
]


def imported_roots(path: Path) -> Iterator[str]:
    """Every top-level name that a file imports, at module level or inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield (node.module or "").partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_from_launch_to_training_to_data(path: Path) -> None:
    room = path.relative_to(ROOT).parts[0]
    forbidden = set(MAY_IMPORT) - MAY_IMPORT[room] | {"tests"}
    assert not forbidden & set(imported_roots(path))


def test_no_module_is_named_like_the_standard_library() -> None:
    assert [str(path) for path in SOURCES if path.stem in sys.stdlib_module_names] == []


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc"])
def test_no_module_without_a_subject(name: str) -> None:
    assert [str(path) for path in SOURCES if path.stem == name or name in path.parts] == []


def run_python(code: str) -> str:
    """Run code in a fresh interpreter; returns what it printed."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_command_line_and_plan_import_nothing_heavy() -> None:
    code = f"import sys, {', '.join(LIGHT)}; print([name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


def test_planning_a_shipped_pipeline_imports_nothing_heavy(tmp_path: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from launch.plan_text import plan_text
from training.config import load_pipeline
from training.plan import plan_run
pipeline = load_pipeline(Path("configs/quickstart.yaml"))
assert plan_text(pipeline, plan_run(pipeline, Path({str(tmp_path)!r}) / "quickstart"))
print([name for name in {HEAVY!r} if name in sys.modules])
"""
    assert run_python(code).strip() == "[]"


def test_help_answers_in_about_a_second() -> None:
    """The best of three, so that a busy machine does not decide; 1.5 s is half of what importing torch alone costs."""
    seconds = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([sys.executable, "-m", "launch", "--help"], cwd=ROOT, capture_output=True, check=True)
        seconds.append(time.monotonic() - started)
    assert min(seconds) < 1.5
