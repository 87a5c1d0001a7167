"""Two real ranks, under our own starter, the deepspeed launcher and accelerate: the same training as on one rank.

Every launcher is started as a user would, in a folder of its own, and nothing it started may outlive it.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.rank_environment import rank_environments, stage_command
from launch.ranks import run_ranks
from launch.rendezvous import free_port
from tests.stage_runs import learned, metrics, run_stage, stage, weights, write_pipeline
from training.config import Runtime, load_pipeline
from training.plan import plan_run
from training.process_birth import process_birth
from training.rank_state import read_rank_states
from training.record import read_record, verify_record
from training.trainer_args import deepspeed_settings
from training.world import COLLECTIVE_TIMEOUT_VARIABLE

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
ZERO2 = ROOT / "configs" / "deepspeed" / "zero2.json"
TIMEOUT_S = 300.0
SUITE = {"easy": {"data": {"path": "items.jsonl"}, "items": 12, "exclude_training_prompts": False}}
needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None, reason="DeepSpeed on CPU ranks needs a C++ compiler: apt-get install g++"
)


def two_ranks(zero_stage: int = 0) -> list[str]:
    """The overrides of a run on two ranks."""
    return ["runtime.processes=2", f"runtime.zero_stage={zero_stage}"]


def folder_of(config: Path, run_dir: Path, name: str) -> Path:
    return plan_run(load_pipeline(config), run_dir)[name].folder


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline of SFT and GRPO, two steps each, and an evaluation of the base."""
    folder = tmp_path_factory.mktemp("ranks")
    items = [{"prompt": f"Say {number}", "answer": str(number)} for number in range(12)]
    (folder / "items.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    suites = {"easy": {**SUITE["easy"], "data": {"path": str(folder / "items.jsonl")}}}
    measure = {"name": "measure", "kind": "evaluate", "from": "base", "suites": ["easy"], "max_completion_length": 8}
    grpo = stage("grpo", folder=folder, **{"from": "base"})
    return write_pipeline(folder, stage("sft", folder=folder), grpo, measure, suites=suites)


@pytest.fixture(scope="module")
def one_rank(config: Path) -> Path:
    """The run folder of the pipeline on one rank."""
    run_dir = config.parent / "one"
    for name in ("sft", "grpo", "measure"):
        assert run_stage(config, name, "--run-dir", str(run_dir)) == 0
    return run_dir


def start_ourselves(config: Path, name: str, run_dir: Path, overrides: list[str]) -> int:
    """Start the stage's ranks as `posttrain run` does."""
    pipeline = load_pipeline(config, overrides)
    command = stage_command(config, ["--stage", name], overrides, run_dir, debug=False)
    environments = rank_environments(pipeline.runtime, offline=True)
    return run_ranks(command, environments, lambda rank: run_dir / f"{name}.rank{rank}.log").code


def start_by_hand(command: list[str], folder: Path) -> str:
    """Run a launcher in `folder` until it ends; it must exit 0 and leave nothing behind. Returns its output."""
    output = folder / "output.log"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ACCELERATE_")}
    environment |= {"DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=sink, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        code = process.wait(TIMEOUT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert code == 0, output.read_text()[-4000:]
    return output.read_text()


def assert_two_ranks_did_it(folder: Path, zero_stage: int) -> None:
    """Both ranks say that they are done and are gone, and the record names them."""
    states = read_rank_states(folder)
    assert [state["outcome"] for state in states] == ["done", "done"]
    deadline = time.monotonic() + 10
    while any(process_birth(state["pid"]) is not None for state in states) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(process_birth(state["pid"]) is None for state in states)
    assert verify_record(folder) == []
    record = read_record(folder)
    assert record is not None
    assert (record["environment"]["processes"], record["environment"]["zero_stage"]) == (2, zero_stage)
    assert len(record["ledger"]["peak_memory_gb"]) == 2


def assert_trained_alike(folder: Path, expected: Path) -> None:
    """Per-step losses within 1e-5 and the same weights up to rounding; every step has its utilisation and slowest rank.

    ZeRO-3 counts whole parameters, though it leaves empty placeholders of them.
    """
    ours, theirs = learned(folder), learned(expected)
    assert [row["loss"] for row in ours] == pytest.approx([row["loss"] for row in theirs], abs=1e-5)
    assert [row["num_tokens"] for row in ours] == [row["num_tokens"] for row in theirs]
    assert all(row["perf/mfu"] > 0 and row["rank/slowest"] in (0, 1) for row in metrics(folder))
    mine, other = weights(folder), weights(expected)
    assert mine.keys() == other.keys()
    for name, tensor in other.items():
        assert torch.isfinite(mine[name]).all()
        torch.testing.assert_close(mine[name], tensor, atol=2e-5, rtol=0)


PATIENT = """\
import time
from training.world import barrier, join, others_wait, read_world
world = read_world(2)
join(world)
with others_wait(world):
    time.sleep(4 * world.is_main)
print("waited", flush=True)
time.sleep(4 * world.is_main)
barrier(world)
"""


def test_ranks_wait_for_rank_0_longer_than_a_collective_does(tmp_path: Path) -> None:
    """Rank 0 works for 4 seconds twice where a collective gives up after 2: the second time in a bare barrier."""
    environments = rank_environments(Runtime(processes=2), offline=True)
    limited = [environment | {COLLECTIVE_TIMEOUT_VARIABLE: "2"} for environment in environments]
    assert run_ranks([sys.executable, "-c", PATIENT], limited, lambda rank: tmp_path / f"{rank}.log").code == 1
    assert [(tmp_path / f"{rank}.log").read_text().count("waited") for rank in (0, 1)] == [1, 1]


def test_ranks_two_under_our_starter_train_as_one_does(config: Path, one_rank: Path, tmp_path: Path) -> None:
    assert start_ourselves(config, "sft", tmp_path, two_ranks()) == 0
    folder = folder_of(config, tmp_path, "sft")
    assert_two_ranks_did_it(folder, zero_stage=0)
    assert_trained_alike(folder, folder_of(config, one_rank, "sft"))


def test_ranks_two_evaluate_as_one_does(config: Path, one_rank: Path, tmp_path: Path) -> None:
    """Items are dealt out to the ranks and come back in their order, with the same answers."""
    assert start_ourselves(config, "measure", tmp_path, two_ranks()) == 0
    folder, expected = (folder_of(config, run_dir, "measure") for run_dir in (tmp_path, one_rank))
    assert_two_ranks_did_it(folder, zero_stage=0)
    assert (folder / "items.jsonl").read_text() == (expected / "items.jsonl").read_text()


@needs_compiler
def test_ranks_deepspeed_launcher_zero2_sft_trains_as_one_rank_does(
    config: Path, one_rank: Path, tmp_path: Path
) -> None:
    """The launcher puts --local_rank=N before CONFIG."""
    command = [str(BIN / "deepspeed"), "--num_gpus", "2", "--master_port", str(free_port())]
    command += ["--module", "training.run_stage", str(config), "--stage", "sft", "--run-dir", str(tmp_path / "run")]
    for override in two_ranks(2):
        command += ["--set", override]
    start_by_hand(command, tmp_path)
    folder = folder_of(config, tmp_path / "run", "sft")
    assert_two_ranks_did_it(folder, zero_stage=2)
    assert_trained_alike(folder, folder_of(config, one_rank, "sft"))


@needs_compiler
def test_ranks_accelerate_launcher_zero2_grpo_draws_the_same_prompts(
    config: Path, one_rank: Path, tmp_path: Path
) -> None:
    """Each rank draws its own random numbers, so completions differ from one rank's; the prompts of a step do not."""
    command = [str(BIN / "accelerate"), "launch", "--use_deepspeed", "--deepspeed_config_file", str(ZERO2)]
    command += ["--num_processes", "2", "--main_process_port", str(free_port()), "--mixed_precision", "no"]
    command += ["-m", "training.run_stage", str(config), "--stage", "grpo", "--run-dir", str(tmp_path / "run")]
    for override in two_ranks(2):
        command += ["--set", override]
    start_by_hand(command, tmp_path)
    folder, expected = (folder_of(config, run_dir, "grpo") for run_dir in (tmp_path / "run", one_rank))
    assert_two_ranks_did_it(folder, zero_stage=2)
    assert asked(folder) == asked(expected)
    assert [row["reward"] for row in learned(folder)] == pytest.approx(
        [sum(rewards) / len(rewards) for rewards in scores(folder)], abs=1e-6
    )
    assert all(torch.isfinite(tensor).all() for tensor in weights(folder).values())
    base = weights(folder_of(config, tmp_path / "run", "base"))
    assert any(not torch.equal(tensor, base[name]) for name, tensor in weights(folder).items())


def samples(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]


def asked(folder: Path) -> list[list[str]]:
    """The prompts of each step, each as often as it was answered."""
    return [sorted(row["prompt"] for row in samples(folder) if row["step"] == step) for step in (1, 2)]


def scores(folder: Path) -> list[list[float]]:
    """The rewards of each step."""
    return [[row["rewards"]["length"] for row in samples(folder) if row["step"] == step] for step in (1, 2)]


@needs_compiler
def test_ranks_zero3_sft_trains_as_one_rank_does(config: Path, one_rank: Path, tmp_path: Path) -> None:
    """The weights lie in two halves while training; what is saved is whole and loads."""
    from training.models import load_policy

    assert start_ourselves(config, "sft", tmp_path, two_ranks(3)) == 0
    folder = folder_of(config, tmp_path, "sft")
    assert_two_ranks_did_it(folder, zero_stage=3)
    assert_trained_alike(folder, folder_of(config, one_rank, "sft"))
    assert torch.isfinite(load_policy(folder / "model")(torch.tensor([[5, 6, 7]])).logits).all()


def test_ranks_other_than_the_config_says_are_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert run_stage(config, "sft", "--run-dir", str(tmp_path)) == 2
    assert "the launcher started 2 rank(s), runtime.processes says 1" in capsys.readouterr().err


def test_ranks_accelerate_with_another_zero_stage_is_refused(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_DEEPSPEED_CONFIG_FILE", str(ZERO2))
    assert run_stage(config, "sft", "--run-dir", str(tmp_path)) == 2
    assert "has ZeRO stage 2, runtime.zero_stage says 0" in capsys.readouterr().err


def test_ranks_shipped_deepspeed_file_is_what_posttrain_writes_itself(config: Path) -> None:
    runtime = load_pipeline(config, two_ranks(2)).runtime
    assert json.loads(ZERO2.read_text()) == deepspeed_settings(runtime)


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize(("zero_stage", "off_policy"), [(0, False), (2, False), (0, True)])
def test_ranks_two_signalled_in_the_middle_of_a_round_resume_bit_identically(
    tmp_path: Path, zero_stage: int, off_policy: bool
) -> None:
    """One rank gets USR1 in a rollout round of two steps: both leave with 75, and the next start goes on."""
    trainer = {"max_steps": 7, "generation_batch_size": 16}
    block = stage("grpo", folder=tmp_path, rows=6, trainer=trainer, one_step_off_policy=off_policy)
    config = write_pipeline(tmp_path, block)
    overrides = two_ranks(zero_stage)
    assert start_ourselves(config, "grpo", tmp_path / "whole", overrides) == 0
    signalling = tmp_path / "signalling.py"
    signalling.write_text(SIGNALLING)
    run_dir = tmp_path / "cut"
    environments = rank_environments(load_pipeline(config, overrides).runtime, offline=True)
    command = [
        sys.executable,
        str(signalling),
        *stage_command(config, ["--stage", "grpo"], overrides, run_dir, False)[3:],
    ]
    assert run_ranks(command, environments, lambda rank: tmp_path / f"cut.rank{rank}.log").code == 75
    folder, expected = (folder_of(config, path, "grpo") for path in (run_dir, tmp_path / "whole"))
    assert [state["outcome"] for state in read_rank_states(folder)] == ["preempted", "preempted"]
    assert (folder / "checkpoints" / "checkpoint-3" / "manifest.json").is_file()
    assert start_ourselves(config, "grpo", run_dir, overrides) == 0
    assert learned(folder) == learned(expected)
    ours, theirs = weights(folder), weights(expected)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


SIGNALLING = """\
import os, signal, sys
from training.preemption import Preemption
from training.run_stage import main
on_step_end = Preemption.on_step_end
def signalled(self, args, state, *rest, **kwargs):
    if state.global_step == 3 and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGUSR1)
    on_step_end(self, args, state, *rest, **kwargs)
Preemption.on_step_end = signalled
sys.exit(main())
"""


@pytest.mark.slow
@needs_compiler
def test_ranks_zero3_saves_an_adapter_and_its_child_merges_it(tmp_path: Path) -> None:
    """Rank 0 alone loads whole weights for both, while transformers would deal them out: once it waited for ever."""
    first = stage("sft", "first", folder=tmp_path, lora={"r": 4, "save": "adapter"})
    config = write_pipeline(tmp_path, first, stage("sft", "second", folder=tmp_path))
    for name in ("first", "second"):
        assert start_ourselves(config, name, tmp_path / "run", two_ranks(3)) == 0
        assert_two_ranks_did_it(folder_of(config, tmp_path / "run", name), zero_stage=3)
    assert (folder_of(config, tmp_path / "run", "first") / "model" / "adapter_config.json").is_file()
