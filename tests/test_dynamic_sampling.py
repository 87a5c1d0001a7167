"""Dynamic sampling: prompts drawn by difficulty, groups without signal replaced within the budget, counts, resume."""

import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from datasets import Dataset

import training.grpo
from benchmarks.dynamic_sampling import read_steps, table
from data.errors import UserError
from launch.rank_environment import rank_environments, stage_command
from launch.ranks import run_ranks
from tests.stage_runs import learned, metrics, planned, run_stage, stage, weights, write_pipeline
from training.config import load_pipeline
from training.difficulty import PASS_RATES, measured_rates
from training.dynamic_sampling import DynamicSampling
from training.identity import derived_seed
from training.models import load_tokenizer
from training.plan import plan_run
from training.prompt_statistics import PromptStatistics
from training.record import read_record

EASY = 10
"""Prompts "Count N" with N below this have no signal: all their completions are the same."""


def test_statistics_weigh_a_prompt_by_the_variance_of_a_pass() -> None:
    """Laplace: unseen 1/2 -> 1; 1 of 2 -> 1/2 -> 1; 4 of 4 -> 5/6 -> 5/9; 0 of 8 -> 1/10 -> 0.36."""
    statistics = PromptStatistics(4)
    for row, passed in ((1, [True, False]), (2, [True] * 4), (3, [False] * 8)):
        statistics.count(row, passed)
    assert statistics.weights_N.tolist() == pytest.approx([1.0, 1.0, 5 / 9, 0.36])


def test_statistics_choose_differently_seeded_rows_by_weight_and_none_that_is_left_out() -> None:
    statistics = PromptStatistics(50)
    for row in range(25):
        statistics.count(row, [False] * 1000)
    chosen = Counter(row for seed in range(200) for row in statistics.choose(5, {40, 41}, seed))
    assert not {40, 41} & set(chosen)
    assert sum(count for row, count in chosen.items() if row < 25) < 0.05 * sum(chosen.values())
    assert statistics.choose(5, (), 1) == statistics.choose(5, (), 1) != statistics.choose(5, (), 2)
    assert sorted(statistics.choose(99, {7}, 3)) == [row for row in range(50) if row != 7]


def test_statistics_come_back_from_their_state() -> None:
    statistics, restored = PromptStatistics(5), PromptStatistics(5)
    statistics.count(3, [True, False])
    restored.restore(statistics.state())
    assert restored.choose(3, (), 1) == statistics.choose(3, (), 1)
    assert restored.weights_N.tolist() == statistics.weights_N.tolist()


def test_difficulty_finds_conversations_whose_last_message_alone_says_nothing(tmp_path: Path) -> None:
    """Two that end alike have their own pass rates; the system message may be another. The third was never drawn."""

    def conversation(system: str, first: str) -> list[dict[str, str]]:
        turns = [("system", system), ("user", first), ("assistant", "Yes."), ("user", "Why?")]
        return [{"role": role, "content": content} for role, content in turns]

    firsts = ["Is 7 prime?", "Is 9 odd?", "Is 4 even?"]
    dataset = Dataset.from_list([{"prompt": conversation("Think.", first)} for first in firsts])
    context: Any = SimpleNamespace(folder=tmp_path, stage=SimpleNamespace(dynamic_sampling=None))
    adapter: Any = None
    sampling = DynamicSampling(context, adapter, dataset, lambda *_: ([], []))
    sampling.statistics.count(0, [True, True, True, False])
    sampling.statistics.count(1, [False, True])
    sampling.write()
    rows = [{"prompt": conversation("Be brief.", first)} for first in firsts]
    bounds = SimpleNamespace(measured_by=str(tmp_path / PASS_RATES))
    assert measured_rates(rows, bounds, None) == [0.75, 0.5, None]


def test_difficulty_is_measured_by_a_grpo_stage_that_counts_and_by_no_other(tmp_path: Path) -> None:
    grpo, later = stage("grpo", folder=tmp_path), stage("sample", "later", folder=tmp_path)
    later["data"]["difficulty"] = {"at_most": 0.9, "measured_by": "stage:grpo"}
    config = write_pipeline(tmp_path, {**grpo, "dynamic_sampling": {}}, {**later, "from": "base"})
    assert planned(config, "later").parents == ["base", "grpo"]
    with pytest.raises(UserError, match="no sample stage, nor a grpo stage with dynamic_sampling"):
        load_pipeline(write_pipeline(tmp_path, grpo, later))


def number_of(prompt: str) -> int:
    return int("".join(character for character in prompt if character.isdigit()) or -1)


@pytest.fixture
def easy_prompts_have_no_signal(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    """Completions of easy prompts are all "ab"; the copies of another prompt differ in length."""
    tokenizer = load_tokenizer(tiny_model)

    def generate(model: Any, prompts: list[list[int]], draws: int, *rest: Any, **options: Any) -> list[list[int]]:
        texts = []
        for ids in prompts:
            easy = number_of(tokenizer.decode(ids)) < EASY
            texts += ["ab" if easy else "a" * (20 * draw + 2) for draw in range(draws)]
        return [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts]

    monkeypatch.setattr(training.grpo, "generate", generate)


def run(folder: Path, rows: int, steps: int, **block: Any) -> tuple[Path, list[dict[str, Any]], list[dict[str, Any]]]:
    """The folder, the metrics and the samples of a run of 4 groups of 2 completions a step.

    The length reward gives two characters -1/8 and twenty-two -1.
    """
    trainer = {"max_steps": steps, "num_generations": 2, "max_completion_length": 64}
    settings = {"parity": {"every": None}, "dynamic_sampling": {"pass_at_least": -0.5, **block}}
    config = write_pipeline(folder, stage("grpo", folder=folder, rows=rows, trainer=trainer, **settings))
    assert run_stage(config, "grpo") == 0
    stage_folder = planned(config, "grpo").folder
    samples = [json.loads(line) for line in (stage_folder / "samples.jsonl").read_text().splitlines()]
    return stage_folder, metrics(stage_folder), samples


@pytest.mark.usefixtures("easy_prompts_have_no_signal")
def test_groups_without_signal_are_replaced_until_all_have_one(tmp_path: Path) -> None:
    """30 prompts, a third of them easy; with four times the groups to spend every round is filled."""
    folder, rows, samples = run(tmp_path, 30, 5, max_extra=4.0)
    assert sum(row["groups/without_signal_drawn"] for row in rows) > 0
    for row in rows:
        assert row["groups/without_signal"] == 0.0
        assert row["groups/replaced"] == 4 * row["groups/without_signal_drawn"]
        assert row["groups/drawn"] >= 4 + row["groups/replaced"]
    assert all(number_of(sample["prompt"]) >= EASY and sample["advantage"] != 0.0 for sample in samples)
    seen = [json.loads(line) for line in (folder / PASS_RATES).read_text().splitlines()]
    drawn = sum(row["groups/drawn"] for row in rows)
    assert sum(prompt["num_scored"] for prompt in seen) == 2 * drawn
    rates = [(number_of(prompt["prompt"][-1]["content"]), prompt["pass_rate"]) for prompt in seen]
    assert {rate for number, rate in rates if number < EASY} == {1.0}
    assert {rate for number, rate in rates if number >= EASY} == {0.5}
    assert PASS_RATES in read_record(folder)["files"]


@pytest.mark.usefixtures("easy_prompts_have_no_signal")
def test_refill_stops_at_the_budget_and_the_step_goes_on_with_what_it_has(tmp_path: Path) -> None:
    """No prompt has signal: half as many groups again are drawn, none is kept, the step is made all the same."""
    _, rows, samples = run(tmp_path, EASY, 2, max_extra=0.5)
    for row in rows:
        assert (row["groups/drawn"], row["groups/replaced"], row["groups/without_signal"]) == (6, 0, 1.0)
    assert [sample["step"] for sample in samples] == [1] * 8 + [2] * 8


@pytest.mark.usefixtures("easy_prompts_have_no_signal")
def test_order_by_difficulty_draws_each_round_from_the_pass_rates_so_far(tmp_path: Path) -> None:
    """The same draws made here, from what each group was: both passed where the prompt is easy, one where it is not."""
    _, rows, samples = run(tmp_path, 20, 8, max_extra=0.0, order="difficulty")
    assert {row["groups/drawn"] for row in rows} == {4}
    statistics, expected = PromptStatistics(20), []
    for number in range(8):
        for row in statistics.choose(4, (), derived_seed(17, f"prompts:{number}")):
            statistics.count(row, [True, row < EASY])
            expected.append(row)
    assert [number_of(sample["prompt"]) for sample in samples[::2]] == expected
    assert len(set(expected)) < len(expected)


def test_dynamic_sampling_left_out_is_no_part_of_the_fingerprint_and_asked_for_it_is(tmp_path: Path) -> None:
    config = write_pipeline(tmp_path, stage("grpo", folder=tmp_path))
    plain = planned(config, "grpo")
    assert "dynamic_sampling" not in plain.identity["experiment"]
    assert planned(config, "grpo", "stages.grpo.parity.every=7").fingerprint == plain.fingerprint
    assert planned(config, "grpo", "stages.grpo.dynamic_sampling={}").fingerprint != plain.fingerprint


def on_two_ranks(config: Path, run_dir: Path, stop_after: int | None = None) -> tuple[int, Path]:
    """Run the stage under our starter; with `stop_after` lines of metrics it is told to checkpoint and leave."""
    folder = plan_run(load_pipeline(config), run_dir)["grpo"].folder
    ended = threading.Event()

    def interrupt() -> None:
        path = folder / "metrics.jsonl"
        while not ended.wait(0.05):
            if path.is_file() and path.read_text().count("\n") >= (stop_after or 0):
                os.kill(os.getpid(), signal.SIGUSR1)
                return

    if stop_after is not None:
        threading.Thread(target=interrupt, daemon=True).start()
    command = stage_command(config, ["--stage", "grpo"], [], run_dir, debug=False)
    environments = rank_environments(load_pipeline(config).runtime, offline=True)
    end = run_ranks(command, environments, lambda rank: run_dir / f"{rank}.log")
    ended.set()
    return end.code, folder


@pytest.mark.slow
def test_two_ranks_refill_alike_and_resume_bit_identically(tmp_path: Path) -> None:
    """Three groups of 4 over two ranks of 6 rows: the middle group lies on both."""
    reward = {"name": "length", "max_length": 7, "buffer": 1, "unit": "characters"}
    fields = {"batch_size": 12, "rewards": [reward], "dynamic_sampling": {"max_extra": 2.0, "order": "difficulty"}}
    block = stage("grpo", folder=tmp_path, rows=40, health={"silent_groups": "off"}, **fields)
    block["trainer"] |= {"max_steps": 8}
    config = write_pipeline(tmp_path, block, runtime={"processes": 2, "micro_batch_size": 6})
    code, whole = on_two_ranks(config, tmp_path / "whole")
    assert code == 0
    assert any(row["groups/replaced"] > 0 for row in learned(whole))
    code, folder = on_two_ranks(config, tmp_path / "resumed", stop_after=2)
    assert code == 75
    assert on_two_ranks(config, tmp_path / "resumed")[0] == 0
    assert learned(folder) == learned(whole)
    for name in ("samples.jsonl", PASS_RATES):
        assert (folder / name).read_text() == (whole / name).read_text()
    assert all(torch.equal(tensor, weights(whole)[name]) for name, tensor in weights(folder).items())


def test_benchmark_counts_what_was_drawn_and_what_a_gradient_comes_from(tmp_path: Path) -> None:
    """Four groups of eight: without refills one has signal; with them seven were drawn and three have signal."""
    common = {"timing_s/step": 10.0, "timing_s/generate": 4.0, "reward": 0.5}
    rows = [
        {**common, "groups/without_signal": 0.75},
        {**common, "groups/without_signal": 0.25, "groups/drawn": 7.0, "groups/reward_drawn": 0.25},
    ]
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, dynamic = read_steps(path, completions=32, group_size=8)
    assert (plain.drawn, plain.useful, plain.reward) == (4, 1, 0.5)
    assert (dynamic.drawn, dynamic.useful, dynamic.reward) == (7, 3, 0.25)
    shown = table({"both": [plain, dynamic]}).splitlines()[-1]
    assert shown == "| **both** | 50% | 88 | 32 | 2.75 | 20 | 40% | 5.0 | 0.38 |"
