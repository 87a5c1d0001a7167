"""GRPO one step off policy: which weights draw which round, by what the loss is corrected, and what a resume keeps."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.config_files import changed, write
from tests.stage_runs import LENGTH, learned, metrics, planned, run_stage, stage, weights, write_pipeline
from tests.vllm_standin import StandIn
from training import one_step_off, vllm_rollout
from training.config import ConfigError, load_pipeline
from training.one_step_off import Draw, OneStepOff, Round, give_up, share_of
from training.plan import plan_run
from training.record import read_record
from training.resumable import EpochRepeatSampler

STEPS = 5
CAP = 1.05
TRUNCATE = {"vllm_importance_sampling_mode": "token_truncate", "vllm_importance_sampling_clip_max": CAP}
OFF = {"one_step_off_policy": True}


def pipeline(folder: Path, trainer: dict[str, Any], **fields: Any) -> Path:
    """Epochs of three rounds of eight completions, one optimizer step each."""
    folder.mkdir(exist_ok=True)
    trainer = {"max_steps": STEPS, "learning_rate": 0.01, "max_grad_norm": 1000.0} | trainer
    runtime = fields.pop("runtime", {})
    block = stage("grpo", folder=folder, rows=6, trainer=trainer, **fields)
    block["health"] = {"silent_groups": "off"}
    block["rewards"] = [{**LENGTH, "max_length": 12, "buffer": 12}]
    return write_pipeline(folder, block, runtime=runtime)


class Run:
    """A finished stage, and what TRL made of each round: the policy's weights, the micro-batches."""

    def __init__(self, folder: Path, trainer: dict[str, Any], **fields: Any):
        self.rounds: list[tuple[dict[str, torch.Tensor], list[dict[str, Any]]]] = []
        note = OneStepOff.note

        def heard(owner: OneStepOff, buffer: list[dict[str, Any]]) -> None:
            state = owner.trainer.accelerator.unwrap_model(owner.trainer.model).state_dict()
            self.rounds.append(({name: value.clone() for name, value in state.items()}, buffer))
            note(owner, buffer)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(OneStepOff, "note", heard)
            self.config = pipeline(folder, trainer, **fields)
            assert run_stage(self.config, "grpo") == 0
        self.folder = planned(self.config, "grpo").folder

    def drawn(self, step: int) -> list[tuple[str, str]]:
        return drawn(self.folder, step)


def drawn(folder: Path, step: int) -> list[tuple[str, str]]:
    """The prompts and completions of the round that a step was the first to train on."""
    lines = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return [(repr(line["prompt"]), line["completion"]) for line in lines if line["step"] == step]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """The stage off policy, the same without learning, and on policy without learning."""
    folder = tmp_path_factory.mktemp("off")
    return {
        "off": Run(folder / "off", TRUNCATE, parity={"every": 1, "rows": 2}, **OFF),
        "off still": Run(folder / "off-still", {"learning_rate": 0.0}, **OFF),
        "on still": Run(folder / "on-still", {"learning_rate": 0.0}),
    }


def test_without_learning_the_completions_are_those_of_on_policy_rollouts(runs: dict[str, Run]) -> None:
    off, on = runs["off still"].folder, runs["on still"].folder
    assert (off / "samples.jsonl").read_text() == (on / "samples.jsonl").read_text()


def test_the_first_round_is_on_policy_and_each_other_is_drawn_by_the_weights_one_round_before(
    runs: dict[str, Run],
) -> None:
    """The first weights draw rounds 1 and 2, as they do without learning; round 3 is drawn by others."""
    learning, still = runs["off"], runs["on still"]
    assert [learning.drawn(step) == still.drawn(step) for step in (1, 2, 3)] == [True, True, False]


def logps(state: dict[str, torch.Tensor], batch: dict[str, Any], folder: Path) -> torch.Tensor:
    """The log-probability [B, K] of every completion token, by transformers' own forward and nothing of ours."""
    from transformers import AutoConfig, AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder / "model")).eval()
    model.load_state_dict(state)
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], dim=1)
    mask = torch.cat([batch["prompt_mask"], batch["completion_mask"]], dim=1)
    width = batch["completion_ids"].size(1)
    with torch.no_grad():
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = model(input_ids=ids, attention_mask=mask, position_ids=positions).logits[:, -width - 1 : -1]
    return logits.log_softmax(-1).gather(-1, batch["completion_ids"][..., None])[..., 0]


def test_the_loss_weighs_each_token_by_policy_over_sampler_truncated(runs: dict[str, Run]) -> None:
    """By hand, for a round of one step under the dapo loss: at its only step the policy is the one that TRL's own ratio
    starts from, so that ratio is 1 and the loss is -sum over tokens of min(policy / sampler, CAP) x advantage, over the
    tokens. The policy has the weights from before the step, the sampler those from before the step before.
    """
    run = runs["off"]
    rows = metrics(run.folder)
    truncated = 0
    for number in range(1, STEPS):
        summed, kl, tokens = 0.0, 0.0, 0
        for batch in run.rounds[number][1]:
            mask = batch["completion_mask"].bool()
            policy, sampler = (logps(run.rounds[place][0], batch, run.folder) for place in (number, number - 1))
            ratio = (policy - sampler).exp()
            kept = ratio.clamp(max=CAP)
            torch.testing.assert_close(batch["sampling_per_token_logps"][mask], sampler[mask], atol=1e-4, rtol=0)
            torch.testing.assert_close(batch["importance_sampling_ratio"][mask], kept[mask], atol=2e-4, rtol=0)
            summed -= float((kept * batch["advantages"][:, None])[mask].sum())
            kl += float((ratio - 1 - (policy - sampler))[mask].sum())
            tokens += int(mask.sum())
            truncated += int((ratio > CAP)[mask].sum())
        assert rows[number]["loss"] == pytest.approx(summed / tokens, abs=1e-4)
        assert rows[number]["sampling/kl"] == pytest.approx(kl / tokens, rel=0.02, abs=1e-6)
    assert truncated > 0
    assert rows[0]["sampling/kl"] < 1e-8 < rows[1]["sampling/kl"]
    assert rows[0]["sampling/importance_sampling_ratio/max"] == pytest.approx(1.0, abs=1e-4)


def test_the_parity_proof_is_made_with_equal_weights_and_the_hidden_seconds_are_told(runs: dict[str, Run]) -> None:
    rows = metrics(runs["off"].folder)
    assert max(row["parity/mean_kl"] for row in rows) < 1e-8
    assert all(row["overlap_s/generate"] >= 0.0 for row in rows)
    assert sum(row["overlap_s/generate"] for row in rows) > 0.0
    assert rows[0]["overlap_s/generate"] == pytest.approx(0.0, abs=0.01)
    total = read_record(runs["off"].folder)["ledger"]["overlap_s"]["generate"]
    assert total == pytest.approx(sum(row["overlap_s/generate"] for row in rows), abs=0.01)
    assert all(row["timing_s/old_logprobs"] > 0 for row in rows)


@pytest.mark.parametrize("stop_at", [2, 3])
def test_a_stage_stopped_by_a_signal_goes_on_to_the_bit(
    runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop_at: int
) -> None:
    """The next round is being drawn, of the second epoch if step 3 was the last; it is slow here, so the save waits."""
    from training.preemption import Preemption

    on_step_end, work = Preemption.on_step_end, Draw.run
    run = runs["off"]

    def signalled(self: Preemption, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step == stop_at:
            os.kill(os.getpid(), signal.SIGUSR1)
        on_step_end(self, args, state, *rest, **kwargs)

    def slow(self: Draw) -> None:
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.5)
        work(self)

    with monkeypatch.context() as patch:
        patch.setattr(Preemption, "on_step_end", signalled)
        patch.setattr(Draw, "run", slow)
        assert run_stage(run.config, "grpo", "--run-dir", str(tmp_path)) == 75
    assert run_stage(run.config, "grpo", "--run-dir", str(tmp_path)) == 0
    folder = next(tmp_path.glob("*-grpo-*"))
    assert learned(folder) == learned(run.folder)
    assert (folder / "samples.jsonl").read_text() == (run.folder / "samples.jsonl").read_text()
    ours, theirs = weights(folder), weights(run.folder)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_a_stage_that_fails_leaves_no_draw_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The draw would take for ever; what ends the rank's process ends it."""
    under_way: list[list[Draw]] = []

    def fails(self: OneStepOff, buffer: Any) -> None:
        under_way.append(self._under_way)
        raise RuntimeError("the power went out")

    def endless(self: Any, prompt_ids: Any, name: str) -> Any:
        def work(draw: Draw) -> Any:
            while name != "0":
                draw.check()
                time.sleep(0.01)
            return [[5] for _ in prompt_ids], [[-1.0] for _ in prompt_ids]

        return work

    monkeypatch.setattr(OneStepOff, "note", fails)
    monkeypatch.setattr("training.copied_policy.CopiedPolicy.prepare", endless)
    assert run_stage(pipeline(tmp_path / "fails", {}, parity={"every": None}, **OFF), "grpo") == 1
    (draw,) = under_way[0]
    give_up(under_way[0])  # what `weakref.finalize` calls at the end of the process
    assert not draw.is_alive()


def test_what_a_draw_raises_is_heard_by_the_main_thread() -> None:
    def broken(draw: Draw) -> None:
        draw.rows_done(3)
        raise MemoryError("no room")

    draw, heard = Draw(broken), list[int]()
    draw.start()
    with pytest.raises(MemoryError, match="no room"):
        draw.result(heard.append)


@pytest.mark.parametrize("shuffle", [True, False])
def test_the_rows_of_a_round_are_those_that_the_sampler_brings(shuffle: bool) -> None:
    sampler = EpochRepeatSampler(range(7), mini_repeat_count=2, batch_size=3, repeat_count=4, shuffle=shuffle, seed=5)
    for epoch in range(2):
        rows = list(sampler)
        rounds = [rows[start : start + 6] for start in range(0, len(rows), 6 * 4)]
        assert rounds == [sampler.round_rows(epoch * 2 + number) for number in range(2)]


def test_a_round_drawn_by_two_ranks_is_dealt_out_to_one_and_to_four() -> None:
    rounds = [Round(3, [[1], [1]], [[4], [5]], [[-0.4], [-0.5]]), Round(3, [[2], [2]], [[6], [7]], [[-0.6], [-0.7]])]
    assert share_of(rounds, 0, 1) == Round(
        3, [[1], [1], [2], [2]], [[4], [5], [6], [7]], [[-0.4], [-0.5], [-0.6], [-0.7]]
    )
    assert share_of(rounds, 2, 4) == Round(3, [[2]], [[6]], [[-0.6]])


def test_vllm_draws_ahead_with_the_weights_before_and_goes_on_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the stand-in. A signal stops it between two rounds, while the next is drawn."""
    from training.preemption import Preemption

    engines: list[StandIn] = []

    class Listed(StandIn):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            engines.append(self)

    monkeypatch.setattr(vllm_rollout, "EngineProcess", Listed)
    vllm = {"rollout": "vllm", "runtime": {"vllm": {"mode": "process"}}}
    run = Run(tmp_path / "vllm", TRUNCATE, parity={"every": 1, "rows": 2}, **OFF, **vllm)
    assert len(set(engines[0].checksums)) == len(engines[0].checksums) == STEPS
    for number, before in ((0, 0), (1, 0), (2, 1)):
        for batch in run.rounds[number][1]:
            mask, found = batch["completion_mask"].bool(), logps(run.rounds[before][0], batch, run.folder)
            torch.testing.assert_close(batch["sampling_per_token_logps"][mask], found[mask], atol=1e-4, rtol=0)
    rows = metrics(run.folder)
    assert max(row["parity/mean_kl"] for row in rows) < 1e-8
    assert rows[0]["sampling/kl"] < 1e-8 < rows[1]["sampling/kl"]
    on_step_end = Preemption.on_step_end

    def signalled(self: Preemption, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        if state.global_step == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        on_step_end(self, args, state, *rest, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(Preemption, "on_step_end", signalled)
        assert run_stage(run.config, "grpo", "--run-dir", str(tmp_path / "cut")) == 75
    assert run_stage(run.config, "grpo", "--run-dir", str(tmp_path / "cut")) == 0
    folder = next((tmp_path / "cut").glob("*-grpo-*"))
    assert learned(folder) == learned(run.folder)
    assert all(torch.equal(value, weights(folder)[name]) for name, value in weights(run.folder).items())


TEXT = changed("rewards: [answer, format]", "rewards: [answer, format]\n    one_step_off_policy: true")
REFUSED = {
    "refills": ("stages.grpo.dynamic_sampling={}", "dynamic_sampling", "refills"),
    "tools": ("stages.grpo.tools=[calculator]", "tools", "called between turns"),
    "adapters": ("stages.grpo.lora={}", "lora", "keeps the whole weights twice"),
    "parts of weights": ("runtime.zero_stage=3", "one_step_off_policy", "runtime.zero_stage: 2 or less"),
    "nucleus": ("stages.grpo.trainer.top_p=0.9", "trainer.top_p", "with one_step_off_policy use 1.0"),
    "no correction": (
        "stages.grpo.trainer.vllm_importance_sampling_correction=false",
        "trainer.vllm_importance_sampling_correction",
        "would pass for the policy's own",
    ),
    "vespo": ("stages.grpo.trainer.loss_type=vespo", "trainer.loss_type", "not sequence_mask; write token_"),
    "another head": ("stages.grpo.trainer.cast_lm_head_to_fp32=true", "cast_lm_head_to_fp32", "another head"),
    "a field of vLLM": ("stages.grpo.trainer.vllm_group_port=5000", "vllm_group_port", "would be ignored"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_drawn_ahead_is_refused_with_key_and_fix(tmp_path: Path, name: str) -> None:
    override, key, words = REFUSED[name]
    with pytest.raises(ConfigError) as caught:
        load_pipeline(write(tmp_path, TEXT), [override])
    assert any(key in line and words in line for line in str(caught.value).splitlines()), str(caught.value)


@pytest.mark.parametrize("mode", ["{mode: colocate}", "{mode: server, server: 'http://node7:8000'}"])
def test_trl_s_modes_of_vllm_are_refused(tmp_path: Path, mode: str) -> None:
    overrides = ["stages.grpo.rollout=vllm", f"runtime.vllm={mode}"]
    with pytest.raises(ConfigError, match=r"use runtime\.vllm\.mode: process"):
        load_pipeline(write(tmp_path, TEXT), overrides)


def test_it_is_identity_and_left_out_it_is_what_the_stage_was_before(tmp_path: Path) -> None:
    def fingerprint(*overrides: str) -> str:
        return plan_run(load_pipeline(write(tmp_path), list(overrides)), tmp_path / "run")["grpo"].fingerprint

    assert fingerprint("stages.grpo.one_step_off_policy=false") == fingerprint()
    assert fingerprint("stages.grpo.one_step_off_policy=true") != fingerprint()


@pytest.fixture(autouse=True)
def no_draw_is_left() -> Iterator[None]:
    yield
    left = [each for each in threading.enumerate() if each.name == "one-step-off" and each.is_alive()]
    assert not left, one_step_off.__name__
