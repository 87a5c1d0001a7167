"""Conversations that call tools: read, made, tokenised with the loss on the assistant; models measured with tools."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from trl import SFTConfig

import training.decode
import training.probe
from data.calculator import calculator
from data.errors import UserError
from data.formats import convert
from data.generators import instances
from tests.stage_runs import learned, metrics, planned, run_stage, stage, write_pipeline
from tests.test_data_foreign_formats import rows_of
from training.bundled import materialise
from training.config import ConfigError, load_pipeline
from training.config.chat_templates import chat_template_path
from training.models import load_tokenizer
from training.record import read_record
from training.rows import source_rows, table
from training.tokens import token_columns, tokenise
from training.tool_turns import ToolTurns
from training.tools import tokenizer_for_tools

CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
TOOLS = [{"type": "function", "function": {"name": "f", "description": "F.", "parameters": {"type": "object"}}}]


def user(content: str) -> dict[str, Any]:
    return {"role": "user", "content": content}


def says(content: str | None, *calls: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}


def told(content: str) -> dict[str, Any]:
    return {"role": "tool", "name": "f", "content": content}


# reading


@pytest.mark.parametrize(
    "call",
    [
        CALL,
        {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}},
        {"name": "f", "arguments": {"x": 1}},
    ],
)
def test_calls_of_every_form_become_one_and_the_completion_begins_behind_the_question(call: Any) -> None:
    answer = {**told("1"), "tool_call_id": "c1"}
    row = {"messages": [user("a?"), says("b"), user("c?"), says(None, call), answer, says("d")], "tools": TOOLS}
    (made,) = convert(rows_of(row), "sft", tools="rows").rows
    assert made["prompt"] == [user("a?"), says("b"), user("c?")]
    assert made["completion"] == [says("", CALL), told("1"), says("d")]
    assert json.loads(made["tools"]) == TOOLS
    (split,) = convert(
        rows_of(
            {"prompt": [user("c?")], "completion": [says(None, call), answer, says("d")], "tools": json.dumps(TOOLS)}
        ),
        "sft",
        tools="rows",
    ).rows
    assert split["completion"] == made["completion"]


def test_without_calls_the_last_answer_alone_is_the_completion() -> None:
    row = {"messages": [user("a?"), says("b"), told("1"), says("d")], "tools": TOOLS}
    (made,) = convert(rows_of(row), "sft", tools="rows").rows
    assert made["completion"] == [says("d")]


@pytest.mark.parametrize(
    ("row", "allowed", "said"),
    [
        ({"messages": [user("a?"), says("b", CALL)]}, "rows", "declares no tools in a column `tools`"),
        ({"messages": [user("a?"), says("b", CALL)], "tools": TOOLS}, "stage", "the row's own.*say tools: rows"),
        ({"messages": [user("a?"), says("b", CALL)], "tools": TOOLS}, "refused", "tool-call rows are not trained on"),
        ({"messages": [user("a?"), says("b", {"function": {}})]}, "stage", r"tool_calls\[0\] names no function"),
        ({"messages": [user("a?"), says("b", {"name": "f", "arguments": "{"})]}, "stage", r"arguments is a text.*JSON"),
        ({"messages": [user("a?"), says("b", {"name": "f", "arguments": "[]"})]}, "stage", "must be an object"),
        ({"messages": [{**user("a?"), "tool_calls": [CALL]}, says("b")]}, "stage", "the assistant calls tools"),
        ({"messages": [user("a?"), says("b")], "tools": "no json"}, "rows", "tools is a text that is no JSON"),
        ({"messages": [user("a?"), says("b")], "tools": ["f"]}, "rows", "must be a list of JSON schemas"),
        ({"messages": [user("a?"), says("b")], "functions": [{"name": "f"}]}, "rows", "give them in a column `tools`"),
    ],
)
def test_rows_whose_tools_cannot_be_trained_on_are_bad(row: Any, allowed: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        convert(rows_of(row), "sft", tools=allowed)


# making


@pytest.mark.parametrize("family", ["chain_sum", "products", "basic_arithmetic"])
def test_made_conversations_say_what_the_calculator_answers_and_end_in_the_answer(family: str) -> None:
    small = {"max_terms": 3, "max_digits": 2}
    for row in instances({family: small}, 20, 3, "tool_calls"):
        asked, answered, final = row["completion"]
        (call,) = asked["tool_calls"]
        assert calculator(**call["function"]["arguments"]) == answered["content"]
        assert float(answered["content"]) == float(row["answer"])
        assert final["content"] == f"<answer>{row['answer']}</answer>"
        assert call["function"]["arguments"]["expression"] in row["prompt"]


def test_a_family_that_is_no_expression_has_no_conversations() -> None:
    with pytest.raises(UserError, match=r"letter_counting is no expression.*basic_arithmetic, chain_sum, products"):
        instances({"chain_sum": {}, "letter_counting": {}}, 2, 3, "tool_calls")


# configuration

FAMILIES = {"chain_sum": {"min_terms": 2, "max_terms": 2, "min_digits": 2, "max_digits": 2}}
GENERATED = {"generator": {"name": "reasoning_gym", "families": FAMILIES, "rows": 16, "completions": "tool_calls"}}
QWEN = {"chat_template": "qwen3-instruct-2507"}


def cold_start(folder: Path, **fields: Any) -> dict[str, Any]:
    block = {"tools": ["calculator"], "allow_template_change": True, "data": GENERATED}
    return stage("sft", folder=folder, **(block | fields))


MEASURED = {
    "suites": {"sums": {"items": 8, "data": {"generator": {"name": "reasoning_gym", "families": FAMILIES}}}},
    "evaluate": {"suites": ["sums"], "tools": ["calculator"], "max_completion_length": 200},
}


@pytest.mark.parametrize(
    ("fields", "top", "said"),
    [
        ({"tools": ["calculater"]}, {}, r"tools\[0\].*is no tool.*calculator"),
        ({"tools": []}, {}, r"tools.*must be \[calculator\]"),
        ({"tools": "rows"}, {}, r"tools.*must be \[calculator\]"),
        ({"trainer": {"assistant_only_loss": False}}, {}, "would train on what tools answer"),
        ({}, {"evaluate": {"suites": ["sums"], "tools": ["f"]}}, r"evaluate.tools\[0\].*is no tool"),
        (
            {},
            {"evaluate": {"suites": ["sums"], "max_tool_calling_iterations": 2}},
            "evaluate.max_tool_calling_iterations.*there are none here",
        ),
        (
            {},
            {
                "benchmarks": {"code": {"human_eval": {}}},
                "evaluate": {"suites": ["sums"], "tools": ["calculator"], "benchmarks": ["code"]},
            },
            "evaluate.benchmarks.*measured without tools",
        ),
    ],
)
def test_tools_that_would_do_nothing_or_harm_are_refused(tmp_path: Path, fields: Any, top: Any, said: str) -> None:
    suites = {"suites": MEASURED["suites"], "evaluate": {"suites": ["sums"]}}
    with pytest.raises(ConfigError, match=said):
        load_pipeline(write_pipeline(tmp_path, cold_start(tmp_path, **fields), **(suites | top)))


def test_tools_of_an_evaluation_are_part_of_it(tmp_path: Path) -> None:
    def prints(**evaluate: Any) -> str:
        top = MEASURED | {"evaluate": {"suites": ["sums"]} | evaluate}
        return planned(write_pipeline(tmp_path, cold_start(tmp_path), **top), "evaluate-base").fingerprint

    plain, one = prints(), prints(tools=["calculator"])
    assert len({plain, one, prints(tools=["calculator"], max_tool_calling_iterations=2)}) == 3
    assert prints(tools=[]) == plain


def test_shipped_templates_are_those_that_trl_knows() -> None:
    from trl.chat_template_utils import qwen3_instruct_2507_chat_template

    path = chat_template_path("qwen3-instruct-2507")
    assert path is not None
    assert path.read_text() == qwen3_instruct_2507_chat_template


# training and measuring


def scripted(model: Any, prompt_ids: Any, draws: int, *rest: Any, **more: Any) -> Any:
    """A model that calls the calculator with the question's sum, but for every fourth question, and repeats what it
    answers; one question's tool does not exist.
    """
    tokenizer = load_tokenizer(materialise("tiny-random"))
    said = []
    for place, ids in enumerate(prompt_ids):
        text = tokenizer.decode(ids)
        answered = re.search(r"<tool_response>\n(.*)\n</tool_response>", text)
        expression = re.search(r"problem: (.*) =", text)
        assert expression is not None
        name = "calculater" if place == 0 else "calculator"
        call = json.dumps({"name": name, "arguments": {"expression": expression[1]}})
        first = "No." if place % 4 == 3 else f"<tool_call>\n{call}\n</tool_call>"
        said.append(f"<answer>{answered[1]}</answer>" if answered else first)
    return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in said for _ in range(draws)]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The config of a finished base, cold start and evaluation with a tool."""
    folder = tmp_path_factory.mktemp("tool_use")
    config = write_pipeline(folder, cold_start(folder), **(MEASURED | QWEN))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.decode, "generate", scripted)
        for name in ("base", "evaluate-base", "sft"):
            assert run_stage(config, name) == 0
    return config


def test_an_evaluation_calls_tools_and_judges_the_last_turn(whole: Path) -> None:
    """Of 8 questions two call nothing and one calls what does not exist: 5 are answered by the calculator."""
    folder = planned(whole, "evaluate-base").folder
    rows = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    record = read_record(folder)
    assert record is not None
    sums = record["metrics"]["sums"]
    assert sums["accuracy"] == 5 / 8
    assert sums["tools"] == {"call_frequency": 6 / 8, "failure_frequency": pytest.approx(1 / 6)}
    right = [row for row in rows if row["correct"]]
    assert all(row["completion"] == f"<answer>{row['answer']}</answer>" and row["calls"] == 1 for row in right)
    assert all(f"[calculator answers] {row['answer']}\n" in row["exchange"] for row in right)
    (failed,) = [row for row in rows if row["failed_calls"]]
    assert "Tool calculater not found" in failed["exchange"]


def test_an_evaluation_with_tools_goes_on_behind_the_turns_that_were_decoded(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies before its second turns are drawn; going on, it decodes those alone."""
    asked: list[bool] = []

    def dies(model: Any, prompt_ids: Any, *rest: Any, finished: Any = None, **more: Any) -> Any:
        tokenizer = load_tokenizer(materialise("tiny-random"))
        second = "<tool_response>" in tokenizer.decode(prompt_ids[0])
        places = list(range(len(prompt_ids)))
        if (kept := finished.get(places)) is not None:
            return kept
        asked.append(second)
        if second and asked.count(True) == 1:
            raise KeyboardInterrupt
        finished.add(places, made := scripted(model, prompt_ids, *rest))
        return made

    monkeypatch.setattr(training.decode, "generate", dies)
    assert run_stage(whole, "base", "--run-dir", str(tmp_path)) == 0
    with pytest.raises(KeyboardInterrupt):
        run_stage(whole, "evaluate-base", "--run-dir", str(tmp_path))
    assert run_stage(whole, "evaluate-base", "--run-dir", str(tmp_path)) == 0
    assert asked == [False, True, True]
    ours, theirs = next(tmp_path.glob("*evaluate-base*")), planned(whole, "evaluate-base").folder
    assert (ours / "items.jsonl").read_text() == (theirs / "items.jsonl").read_text()


def test_a_probe_calls_tools_and_the_best_model_keeps_its_own_tokenizer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers as in the evaluation: 5 of 8. What parses calls is a copy, which is not saved with the model."""
    probe = {"suites": ["sums"], "every": 2, "items": 8, "max_completion_length": 200, "keep_best": "sums"}
    block = stage("grpo", folder=tmp_path, tools=["calculator"], allow_template_change=True, probe=probe)
    config = write_pipeline(tmp_path, block, **(MEASURED | QWEN))
    with_tool = "stages.grpo.probe.tools=[calculator]"
    assert planned(config, "grpo", with_tool).fingerprint != planned(config, "grpo").fingerprint
    with pytest.raises(ConfigError, match=r"probe.max_tool_calling_iterations.*there are none here"):
        load_pipeline(config, ["stages.grpo.probe.max_tool_calling_iterations=1"])
    with pytest.raises(ConfigError, match=r"probe.tools\[0\].*did you mean calculator"):
        load_pipeline(config, ["stages.grpo.probe.tools=[calculater]"])
    monkeypatch.setattr(training.probe, "generate", scripted)
    for name in ("base", "grpo"):
        assert run_stage(config, name, "--set", with_tool) == 0
    folder = planned(config, "grpo", with_tool).folder
    assert metrics(folder)[-1]["probe/sums/accuracy"] == 5 / 8
    assert getattr(load_tokenizer(folder / "model"), "response_template", None) is None


def tokenised(rows: list[dict[str, Any]], tokenizer: Any) -> list[dict[str, Any]]:
    """The rows' tokens, made as a stage makes them."""
    arguments = SFTConfig(output_dir="unused", assistant_only_loss=True, bf16=False, report_to="none")
    return list(tokenise("sft", table([token_columns(row, "sft") for row in rows]), tokenizer, arguments))


def test_only_what_the_assistant_says_is_trained_on_and_the_prompt_is_the_rollouts(whole: Path) -> None:
    """The labels are the call and the answer with their ends of turn; the prompt is token for token GRPO's."""
    folder = planned(whole, "sft").folder
    assert len(learned(folder)) == 2
    assert planned(whole, "sft").identity["experiment"]["trainer"]["assistant_only_loss"] is True
    config = load_pipeline(whole)
    (block,) = [each for each in config.stages if each.name == "sft"]
    seed = read_record(folder)["data"]["source"]["seed"]  # type: ignore[index]
    rows = source_rows(block, seed, config.system).rows
    tokenizer = tokenizer_for_tools(load_tokenizer(materialise("tiny-random"), "qwen3-instruct-2507"), "s")
    turns = ToolTurns([calculator], tokenizer, None, 100, None)
    tokens = tokenised(rows, tokenizer)
    for row, made in zip(rows, tokens, strict=True):
        asked, _, final = row["completion"]
        call = json.dumps(asked["tool_calls"][0]["function"])
        said = f"<tool_call>\n{call}\n</tool_call><|im_end|>\n{final['content']}<|im_end|>\n"
        assert tokenizer.decode([label for label in made["labels"] if label != -100]) == said
        (prompt,) = turns.rendered([row["prompt"]])
        assert made["input_ids"][: len(prompt)] == prompt


def test_a_template_without_calls_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    config = write_pipeline(tmp_path, cold_start(tmp_path))
    assert run_stage(config, "base") == 0
    assert run_stage(config, "sft") == 2
