"""Stragglers: work of one's own is told from waiting, and a rank made slow on two real ranks is named."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from launch.board import BoardReader
from launch.rank_environment import rank_environments
from launch.ranks import run_ranks
from launch.status import status_text
from tests.fake_run import write_fake_run
from tests.html_outline import Outline
from tests.stage_runs import metrics, stage, write_pipeline
from tests.test_ledger import Clock
from training.balance import Balance, OwnWork, balance_words, is_straggling, step_balance, watch_own_work
from training.config import load_pipeline
from training.plan import plan_run
from training.rank_state import read_rank_states
from training.record import read_record
from training.report.page import render_page
from training.run_folder import RunFolder

STEPS = 8
SLOW_RANK_1 = """
import os, sys, time
from transformers import LlamaModel
original = LlamaModel.forward
def slow(self, *args, **kwargs):
    if os.environ["RANK"] == "1":
        time.sleep(0.3)
    return original(self, *args, **kwargs)
LlamaModel.forward = slow
from training.run_stage import main
sys.exit(main(sys.argv[1:], process_ends=True))
"""


def test_nested_work_counts_once() -> None:
    """Work 1..5 with work 2..3 inside it, and 7..8: 4 + 1 seconds."""
    clock = Clock()
    work = OwnWork(clock)
    for now, call in ((1, work.begin), (2, work.begin), (3, work.end), (5, work.end), (7, work.begin), (8, work.end)):
        clock.now = float(now)
        call()
    assert work.take() == 5.0
    assert work.take() == 0.0


def test_seconds_of_scoring_are_added_once() -> None:
    work = OwnWork(Clock())
    scored = 3.0
    work.scored = lambda: scored
    assert work.take() == 3.0
    scored = 4.5
    assert work.take() == 1.5


@pytest.mark.parametrize(("device", "timer"), [("cpu", "_time_on_cpu"), ("cuda:0", "_time_on_device")])
def test_forward_passes_are_timed_on_the_device_that_trains(
    device: str, timer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under DeepSpeed the weights are still on the CPU when the hooks are hung on."""
    used = []
    for name in ("_time_on_cpu", "_time_on_device"):
        monkeypatch.setattr(f"training.balance.{name}", lambda model, work, name=name: used.append(name))
    accelerator = SimpleNamespace(device=torch.device(device))
    watch_own_work(SimpleNamespace(model=torch.nn.Linear(2, 2), accelerator=accelerator, get_batch_samples=None))
    assert used == [timer]


def test_imbalance_is_the_slowest_over_the_mean() -> None:
    """Own seconds 1, 1, 4: mean 2, so the slowest is 100 % above it."""
    assert step_balance([1.0, 1.0, 4.0]) == {"rank/slowest": 2, "rank/imbalance": 1.0}
    assert step_balance([0.0, 0.0]) == {"rank/slowest": 0, "rank/imbalance": 0.0}


def test_balance_names_the_rank_that_was_slowest_most_often() -> None:
    rows = [{"rank/slowest": rank, "rank/imbalance": share} for rank, share in ((1, 0.2), (0, 0.1), (1, 0.3))]
    facts = Balance([*rows, {"loss": 1.0}]).facts()
    assert facts == {"slowest_rank": 1, "slowest_steps": 2, "steps": 3, "imbalance": 0.2}
    assert balance_words(facts, "node2") == "rank 1 (node2) was slowest in 2 of 3 steps; imbalance 20 %"
    assert Balance([{"loss": 1.0}]).facts() is None


@pytest.mark.parametrize(
    ("slowest", "steps", "imbalance", "expected"),
    [(10, 10, 0.2, True), (7, 10, 0.2, False), (10, 10, 0.05, False), (4, 4, 0.5, False)],
)
def test_only_a_rank_often_and_much_slower_is_told_unasked(
    slowest: int, steps: int, imbalance: float, expected: bool
) -> None:
    facts = {"slowest_rank": 1, "slowest_steps": slowest, "steps": steps, "imbalance": imbalance}
    assert is_straggling(facts) is expected


@pytest.mark.slow
@pytest.mark.alone
def test_a_rank_made_slow_is_named_in_metrics_record_and_status(tmp_path: Path) -> None:
    """Rank 1 sleeps in every forward pass; rank 0 waits for it inside its own backward pass, and is not blamed."""
    config = write_pipeline(
        tmp_path, stage("sft", rows=64, folder=tmp_path, trainer={"max_steps": STEPS}), runtime={"processes": 2}
    )
    pipeline = load_pipeline(config)
    run_dir = Path(pipeline.runtime.runs_dir) / pipeline.name
    command = [sys.executable, "-c", SLOW_RANK_1, str(config), "--stage", "sft", "--run-dir", str(run_dir)]
    environments = rank_environments(pipeline.runtime, offline=True)
    assert run_ranks(command, environments, lambda rank: tmp_path / f"rank{rank}.log").code == 0
    folder = plan_run(pipeline, run_dir)["sft"].folder
    slowest = [row["rank/slowest"] for row in metrics(folder)]
    assert slowest.count(1) >= STEPS - 2  # the first step warms up, and the machine may be busy
    ledger = read_record(folder)["ledger"]
    assert (ledger["balance"]["slowest_rank"], ledger["balance"]["steps"]) == (1, STEPS)
    assert ledger["balance"]["imbalance"] > 0.3
    own = [rank["own_s"] for rank in ledger["ranks"]]
    assert own[1] - own[0] > 0.25 * STEPS
    assert all(rank["timing_s"]["step"] > 0 and rank["host"] for rank in ledger["ranks"])
    assert [state["own_s"] > 0 for state in read_rank_states(folder)] == [True, True]
    assert "rank 1 (" in status_text(RunFolder(run_dir))
    (warning,) = BoardReader(RunFolder(run_dir)).read().warnings
    assert "the others wait for it" in warning


def test_report_tells_the_balance_and_each_ranks_seconds_but_no_host(tmp_path: Path) -> None:
    run = write_fake_run(tmp_path)
    path = next(run.glob("??-sft-*")) / "record.json"
    record = json.loads(path.read_text())
    rank = {"host": "secret-node", "own_s": 31.5, "timing_s": {"data": 2.0, "forward_backward": 80.25, "step": 90.0}}
    balance = {"slowest_rank": 1, "slowest_steps": 38, "steps": 40, "imbalance": 0.23}
    record["ledger"] |= {"ranks": [rank, {**rank, "own_s": 47.5}], "balance": balance}
    path.write_text(json.dumps(record))
    text = Outline(render_page(run)).text
    assert "sft: rank 1 was slowest in 38 of 40 steps; imbalance 23 %." in text
    assert "31.5" in text
    assert "47.5" in text
    assert "secret-node" not in text
    assert text.count("was slowest in") == 1  # the other stages' lines are of before there was an imbalance
