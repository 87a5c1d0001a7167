"""Tools in GRPO: what the model is told, that TRL calls them between turns that we draw, masks, resume, refusals."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

import training.grpo
from data.calculator import calculator
from data.errors import UserError
from tests.stage_runs import learned, planned, run_stage, stage, write_pipeline
from tests.test_ranks_real import ROOT, assert_two_ranks_did_it, folder_of, start_ourselves, two_ranks
from tests.test_resume import assert_learned_the_same, dies_at_step
from training.bundled import materialise
from training.config import ConfigError, load_pipeline
from training.config.chat_templates import chat_template_path
from training.models import load_tokenizer
from training.reward_functions import assistant_text, transcript
from training.rollout import generate
from training.tools import load_tools, tokenizer_for_tools

# the calculator


@pytest.mark.parametrize(
    ("expression", "value"),
    [("6 * 7", "42"), ("(3 + 4) * -5", "-35"), ("7 / 2", "3.5"), ("7 // 2 + 7 % 4", "6"), (" 1.5 - 1 ", "0.5")],
)
def test_calculator_works_out_arithmetic(expression: str, value: str) -> None:
    assert calculator(expression) == value


@pytest.mark.parametrize(
    "expression",
    ["1 / 0", "2 ** 9", "__import__('os')", "x", "1 +", "'a' * 9", "True + 1", "9" * 61, "(" * 150, "1" * 201, "1e400"],
)
def test_calculator_refuses_what_is_no_arithmetic(expression: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        calculator(expression)


# configuration


def pipeline(folder: Path, **fields: Any) -> Path:
    trainer = {"max_completion_length": 160, "generation_batch_size": 16, "max_steps": 4} | fields.pop("trainer", {})
    top = fields.pop("top", {})
    rewards = [{"name": "length", "max_length": 64, "buffer": 60, "unit": "characters"}]
    block = {"tools": ["calculator"], "chat_template": "qwen3", "allow_template_change": True, "rewards": rewards}
    block["parity"] = {"every": None}  # scripted turns tell no observer what the model thought of them
    return write_pipeline(folder, stage("grpo", folder=folder, rows=6, trainer=trainer, **(block | fields)), **top)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"tools": ["calculater"]}, r"tools\[0\].*is no tool.*calculator"),
        ({"tools": ["calculator", "calculator"]}, "calls two tools calculator"),
        ({"tools": [{"callable": "nowhere:tool", "version": 1}]}, "there is no module nowhere"),
        ({"tools": [{"callable": "nowhere:tool"}]}, "a callable needs a version"),
        ({"dynamic_sampling": {}}, "scores completions before their tools are called"),
        (
            {"rollout": "vllm", "top": {"runtime": {"vllm": {"mode": "colocate"}}}},
            "have turns that posttrain draws itself",
        ),
        ({"top": {"runtime": {"zero_stage": 3, "processes": 2}}}, "ZeRO-3 gathers the weights"),
        ({"tools": [], "trainer": {"max_tool_calling_iterations": 2}}, "counts turns with tools"),
    ],
)
def test_tools_that_cannot_work_are_refused(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_pipeline(pipeline(tmp_path, **fields))


OWN = '''
def lookup(word: str) -> str:
    """
    Look a word up.

    Args:
        word: The word.
    """
    return word.upper()


def untold(word):
    return word
'''


def test_own_tools_are_identified_by_their_file_and_must_be_described(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "own_tools.py").write_text(OWN)
    tools = [{"callable": "own_tools:lookup", "version": 1}]
    config = pipeline(tmp_path, tools=tools)
    first = planned(config, "grpo").fingerprint
    (lookup,) = load_tools(load_pipeline(config).stages[0].tools, "grpo")  # type: ignore[union-attr]
    assert lookup("a") == "A"
    (tmp_path / "own_tools.py").write_text(OWN.replace("upper", "lower"))
    changed = planned(config, "grpo").fingerprint
    without = planned(pipeline(tmp_path, tools=[]), "grpo").fingerprint
    assert len({first, changed, without}) == 3
    untold = load_pipeline(pipeline(tmp_path, tools=[{"callable": "own_tools:untold", "version": 1}])).stages[0]
    with pytest.raises(UserError, match=r"stages.grpo.tools\[0\]: untold needs a type for every argument"):
        load_tools(untold.tools, "grpo")  # type: ignore[union-attr]


def test_the_shipped_template_is_the_one_that_trl_knows() -> None:
    from trl.chat_template_utils import qwen3_chat_template

    path = chat_template_path("qwen3")
    assert path is not None
    assert path.read_text() == qwen3_chat_template


def test_a_template_that_calls_no_tools_is_refused() -> None:
    tokenizer = load_tokenizer(materialise("tiny-random"))
    with pytest.raises(UserError, match=r"stages.s.tools: TRL cannot call tools with the model's chat template"):
        tokenizer_for_tools(tokenizer, "s")
    known = load_tokenizer(materialise("tiny-random"), "qwen3")
    assert getattr(tokenizer_for_tools(known, "s"), "response_template", None) is not None
    assert getattr(known, "response_template", None) is None


def test_rewards_see_the_last_answer_and_samples_the_whole_exchange() -> None:
    call = {"type": "function", "function": {"name": "calculator", "arguments": {"expression": "6 * 7"}}}
    asked = {"role": "assistant", "content": "", "tool_calls": [call]}
    told = {"role": "tool", "name": "calculator", "content": "42"}
    assert assistant_text([asked, told, {"role": "assistant", "content": "It is 42."}]) == "It is 42."
    assert assistant_text([asked, told]) == ""
    assert transcript([asked, told, {"role": "assistant", "content": "It is 42."}]) == (
        '[calls calculator({"expression": "6 * 7"})]\n[calculator answers] 42\nIt is 42.'
    )
    assert transcript([{"role": "assistant", "content": "plain"}]) == transcript("plain") == "plain"


# a stage whose first turns are scripted; later turns are the model's own


CALL = '<tool_call>\n{{"name": "calculator", "arguments": {{"expression": "{} * {}"}}}}\n</tool_call>'


def scripted(
    model: Any, prompt_ids: Any, draws: int, sampling: Any, eos: Any, seed: int, *rest: Any, **more: Any
) -> Any:
    """First turns (several draws) call the calculator but for every fourth; what follows is drawn from the model."""
    if draws == 1:
        return generate(model, prompt_ids, draws, sampling, eos, seed, *rest, **more)
    tokenizer = load_tokenizer(materialise("tiny-random"))
    places = range(len(prompt_ids) * draws)
    texts = ["No." if place % 4 == 3 else CALL.format(seed % 97, place) for place in places]
    return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """The config of a finished stage, and the buffers of its rollout rounds."""
    folder = tmp_path_factory.mktemp("tools")
    config, buffers = pipeline(folder), []
    begin = training.grpo.GrpoTrainer._generate_and_score_completions

    def heard(self: Any, inputs: Any) -> Any:
        buffers.append(begin(self, inputs))
        return buffers[-1]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(training.grpo, "generate", scripted)
        patched.setattr(training.grpo.GrpoTrainer, "_generate_and_score_completions", heard)
        assert run_stage(config, "base") == 0
        assert run_stage(config, "grpo") == 0
    return config, buffers


def test_tools_are_called_and_the_model_goes_on_from_their_answers(whole: tuple[Path, list[Any]]) -> None:
    config, _ = whole
    folder = planned(config, "grpo").folder
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 32
    called = [row for row in rows if "[calls calculator" in row["completion"]]
    assert len(called) == 24
    for row in called:
        left, right = row["completion"].split('"expression": "')[1].split('"')[0].split(" * ")
        assert f"[calculator answers] {int(left) * int(right)}" in row["completion"]
    first = learned(folder)[0]
    assert (first["tools/call_frequency"], first["tools/failure_frequency"]) == (0.75, 0.0)


def test_no_token_of_a_tool_is_trained_on(whole: tuple[Path, list[Any]]) -> None:
    """The tokens between the call's end and the model's next turn are those of the tool's answer, and only those are
    masked."""
    tokenizer = load_tokenizer(materialise("tiny-random"))
    masked = []
    for buffer in whole[1]:
        for ids, mask, tool_mask in zip(
            buffer["completion_ids"], buffer["completion_mask"], buffer["tool_mask"], strict=True
        ):
            real = mask.bool()
            masked.append(tokenizer.decode(ids[real & ~tool_mask.bool()]))
    assert sum(text == "" for text in masked) == 8
    assert all("<tool_response>" in text and "tool_call" not in text for text in masked if text)
    assert all(text.endswith("<|im_start|>assistant\n") for text in masked if text)


def test_a_stage_with_tools_resumes_bit_identically_in_the_middle_of_a_round(
    whole: tuple[Path, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was drawn before goes on with the masks of its tools, and the next round draws the same turns again."""
    config, expected = whole[0], planned(whole[0], "grpo").folder
    monkeypatch.setattr(training.grpo, "generate", scripted)
    arguments = ("--run-dir", str(tmp_path), "--set", "runtime.checkpoint_every=1")
    dies_at_step(2, config, "grpo", *arguments)
    folder = next(tmp_path.glob("*grpo*"))
    assert [path.name for path in (folder / "checkpoints").glob("checkpoint-*")] == ["checkpoint-1"]
    assert run_stage(config, "grpo", *arguments) == 0
    assert (expected / "samples.jsonl").exists()
    assert_learned_the_same(folder, expected)


@pytest.mark.slow
def test_the_fast_paths_change_nothing_beside_tools(
    whole: tuple[Path, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training.grpo, "generate", scripted)
    assert run_stage(whole[0], "grpo", "--run-dir", str(tmp_path), "--set", "runtime.fast_paths=false") == 0
    ours, theirs = learned(next(tmp_path.glob("*grpo*"))), learned(planned(whole[0], "grpo").folder)
    assert any(abs(row["loss"]) > 1e-3 for row in theirs)
    for key in ("loss", "grad_norm"):
        assert [row[key] for row in ours] == pytest.approx([row[key] for row in theirs], rel=1e-4, abs=1e-6)


CALLED_ON_RANK_0 = (
    OWN
    + '''
import os

if os.environ.get("RANK") == "0":
    import training.grpo
    from tests import test_tools

    training.grpo.generate = test_tools.scripted


def calculator(expression: str) -> str:
    """
    Say how long an expression is.

    Args:
        expression: Any text.
    """
    return str(len(expression))
'''
)


@pytest.mark.slow
def test_one_of_two_ranks_may_take_more_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The completions of rank 0 call a tool and have a second turn; those of rank 1 are the random model's."""
    (tmp_path / "rank_tools.py").write_text(CALLED_ON_RANK_0)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{ROOT}")
    monkeypatch.syspath_prepend(str(tmp_path))
    config = pipeline(tmp_path, tools=[{"callable": "rank_tools:calculator", "version": 1}])
    run_dir = tmp_path / "two"
    assert run_stage(config, "base", "--run-dir", str(run_dir)) == 0
    assert start_ourselves(config, "grpo", run_dir, two_ranks()) == 0
    folder = folder_of(config, run_dir, "grpo")
    assert_two_ranks_did_it(folder, 0)
    rows = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 32
    assert sum("[calculator answers] " in row["completion"] for row in rows) == 12
    assert {row["tools/call_frequency"] for row in learned(folder) if "tools/call_frequency" in row} == {6 / 16}
