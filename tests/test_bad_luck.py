"""Bad luck that is no crash: the reader or the terminal goes away, the clock steps back, secrets stand in the
environment, a worker that scores dies again and again, the disk is slow. The run goes on or ends with a clear code;
nothing leaks."""

import io
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.cli import main
from launch.outlet import Outlet
from tests.fake_slurm import FakeSlurm
from tests.stage_runs import LENGTH, learned, metrics, run_stage, stage, weights, write_pipeline
from training.preemption import Preemption
from training.report import write_report

RUNNER = """
import signal, sys
from pathlib import Path
from launch.outlet import outlive_reader
from launch.ranks import run_ranks
outlive_reader()
if sys.argv[2] == "nohup":
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
end = run_ranks([sys.executable, "-c", sys.argv[3]], [{}], lambda rank: Path(sys.argv[1]))
print("ended with", end.code)
sys.exit(end.code)
"""
TALKING = """
import time
for number in range(40):
    print("line", number, flush=True)
    time.sleep(0.02)
"""
CHECKPOINTING = """
import signal, sys, time
def stop(number, frame):
    print("checkpointed after", signal.Signals(number).name, flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
print("ready", flush=True)
time.sleep({seconds})
"""


def start_runner(log: Path, program: str, nohup: bool = False) -> "subprocess.Popen[str]":
    """Start a runner with one rank; its output is a pipe."""
    arguments = [str(log), "nohup" if nohup else "", textwrap.dedent(program)]
    return subprocess.Popen([sys.executable, "-c", RUNNER, *arguments], stdout=subprocess.PIPE, text=True)


def test_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    """As `posttrain run ... | head -2` does; the rank's log has what nobody read."""
    process = start_runner(tmp_path / "log", TALKING)
    assert process.stdout is not None
    assert [process.stdout.readline() for _ in range(2)] == ["line 0\n", "line 1\n"]
    process.stdout.close()
    assert process.wait(30) == 0
    assert (tmp_path / "log").read_text().splitlines()[-1] == "line 39"


def test_outlet_swallows_what_a_lost_terminal_raises() -> None:
    class Lost(io.StringIO):
        def __init__(self, target: int):
            super().__init__()
            self.target = target

        def write(self, text: str) -> int:
            raise OSError(5, "Input/output error")

        def fileno(self) -> int:
            return self.target

    with open(os.devnull, "w") as target:
        print("nobody hears", file=Outlet(Lost(target.fileno())))


@pytest.fixture
def on_a_terminal() -> Iterator[None]:
    """HUP as a shell on a terminal leaves it, also where the tests themselves run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("on_a_terminal")
def test_end_of_the_terminal_checkpoints_and_ends_with_75(tmp_path: Path) -> None:
    process = start_runner(tmp_path / "log", CHECKPOINTING.format(seconds=60))
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 75
    assert "checkpointed after SIGTERM" in (tmp_path / "log").read_text()


def test_end_of_the_terminal_is_nothing_to_a_run_under_nohup(tmp_path: Path) -> None:
    process = start_runner(tmp_path / "log", CHECKPOINTING.format(seconds=1), nohup=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) == 0


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One GRPO stage of three steps, mirrored to an offline wandb."""
    folder = tmp_path_factory.mktemp("luck")
    grpo = stage("grpo", folder=folder, trainer={"max_steps": 3})
    return write_pipeline(folder, grpo, runtime={"tracker": "wandb", "checkpoint_every": 1})


@pytest.fixture(scope="module")
def untouched(config: Path) -> Path:
    """Its folder after a run without bad luck."""
    assert run_stage(config, "grpo", "--run-dir", str(config.parent / "whole"), "--set", "runtime.tracker=none") == 0
    return next((config.parent / "whole").glob("*-grpo-*"))


def test_clock_that_steps_back_changes_nothing(
    config: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour back after step 1, a day back after step 2."""
    clock, back = time.time, {"s": 0.0}
    on_step_end = Preemption.on_step_end

    def patched(self: Preemption, args: Any, state: Any, *rest: Any, **kwargs: Any) -> None:
        back["s"] = {1: 3600.0, 2: 90000.0}.get(state.global_step, back["s"])
        on_step_end(self, args, state, *rest, **kwargs)

    monkeypatch.setattr(Preemption, "on_step_end", patched)
    monkeypatch.setattr(time, "time", lambda: clock() - back["s"])
    assert run_stage(config, "grpo", "--run-dir", str(tmp_path), "--set", "runtime.tracker=none") == 0
    folder = next(tmp_path.glob("*-grpo-*"))
    assert learned(folder) == learned(untouched)
    ours, theirs = weights(folder), weights(untouched)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_slow_disk_costs_seconds_that_the_ledger_shows_and_nothing_else(
    config: Path, untouched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every flush takes a tenth of a second more. A checkpoint's stand under `checkpoint` of the step after it."""
    flush, flushed = os.fsync, []

    def slow(descriptor: int) -> None:
        flushed.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        time.sleep(0.1)
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    assert run_stage(config, "grpo", "--run-dir", str(tmp_path), "--set", "runtime.tracker=none") == 0
    folder = next(tmp_path.glob("*-grpo-*"))
    ours, theirs = weights(folder), weights(untouched)
    assert learned(folder) == learned(untouched)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    for step, row in enumerate(metrics(folder)[1:], start=1):
        slept = 0.1 * sum(f"/checkpoint-{step}/" in path for path in flushed)
        assert slept > 1
        assert row["timing_s/checkpoint"] >= slept
        assert row["timing_s/unaccounted"] < 0.1


SECRETS = {
    "WANDB_API_KEY": "5ecre7" * 6 + "abcd",
    "HF_TOKEN": "hf_planted0secret0of0the0hub",
    "HUGGING_FACE_HUB_TOKEN": "hf_planted0older0name",
    "OPENAI_API_KEY": "sk-planted-for-a-judge",
    "AWS_SECRET_ACCESS_KEY": "planted/for/a/bucket",
    "GITHUB_TOKEN": "ghp_planted0for0git",
    "DB_PASSWORD": "planted-password-of-a-service",
}


def test_secrets_of_the_environment_stand_in_nothing_that_is_written(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """A stage with wandb, one that fails, the report, batch scripts, and all that is said on the way."""
    slurm = FakeSlurm(tmp_path / "fake")
    monkeypatch.setenv("PATH", slurm.search_path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    run_dir = tmp_path / "run"
    common = ["--run-dir", str(run_dir)]
    assert run_stage(config, "grpo", *common) == 0
    assert run_stage(config, "grpo", *common, "--set", "stages.grpo.trainer.learning_rate=nan", "--debug") != 0
    write_report(run_dir)
    overrides = ["runtime.slurm={time: '30', cpus_per_task: 1}", *common]
    assert main(["submit", str(config), *overrides, "--dry-run"]) == 0
    assert main(["submit", str(config), "seed=5", *overrides[:1], "--run-dir", str(tmp_path / "other")]) == 0
    assert main(["status", str(run_dir)]) == 0
    assert main(["doctor", str(config)]) in (0, 2)
    said = capfd.readouterr()
    assert slurm.calls("sbatch")
    written = [path for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink()]
    assert {"record.json", "report.html", "metrics.jsonl"} <= {path.name for path in written}
    assert any(path.suffix in (".sh", ".sbatch") for path in written)
    assert any(path.suffix == ".wandb" for path in written)
    for name, secret in SECRETS.items():
        assert secret not in said.out + said.err, name
        assert [path for path in written if secret.encode() in path.read_bytes()] == [], name


DYING = """
import os

CALLS = 0

def dies_every_50_calls(completions, prompts, **columns):
    global CALLS
    CALLS += 1
    if CALLS == 50:
        os._exit(9)
    return [len(text) / 100 for text in completions]
"""


def test_reward_worker_that_dies_every_50_calls_costs_one_completion_each_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """16 completions a round: a new worker begins to count anew, so 96 completions meet one death."""
    (tmp_path / "dying_reward.py").write_text(DYING)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    own = {"name": "dying", "callable": "dying_reward:dies_every_50_calls", "version": 1}
    fields = {"rewards": [LENGTH, own], "max_error_rate": 0.1, "batch_size": 16}
    config = write_pipeline(
        tmp_path, stage("grpo", folder=tmp_path, trainer={"max_steps": 6}, **fields), runtime={"reward_workers": 1}
    )
    assert run_stage(config, "grpo") == 0
    folder = next((tmp_path / "runs" / "demo").glob("*-grpo-*"))
    samples = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    unscored = [row for row in samples if row["rewards"]["dying"] is None]
    assert (len(samples), len(unscored)) == (96, 1)
