"""The tables of `posttrain plan` in terminals of several widths: nothing is wider, and no figure is lost."""

import re
from pathlib import Path

import pytest

from launch.cli import main
from launch.plan_memory import memory_text
from launch.plan_time import spell
from training.estimate.estimate import Range, StageEstimate
from training.estimate.memory import Memory, Phase

ROOT = Path(__file__).resolve().parent.parent
MONEY = ("--watts", "700", "--price-per-gpu-hour", "2")
PLANS = {
    "quickstart": ("configs/quickstart.yaml",),
    "7b with money": ("configs/cluster/7b_8gpu.yaml", "--gpu", "h100-80gb", *MONEY),
    "rounds": ("configs/recipes/r1_zero.yaml", "--gpu", "h800", *MONEY),
}


def stage(name: str, *phases: Phase) -> StageEstimate:
    return StageEstimate(name, "sft", None, Memory(phases), None, None)


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("plan", list(PLANS))
def test_tables_of_shipped_plans_fit_the_terminal(
    plan: str, columns: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    config, *options = PLANS[plan]
    assert main(["plan", str(ROOT / config), *options, f"runtime.runs_dir={tmp_path}"]) == 0
    tables = capsys.readouterr().out.partition("Peak memory")[2].partition("These figures")[0]
    assert "Time, likely" in tables
    assert "to do: " in tables or plan == "rounds"
    assert [line for line in tables.splitlines() if len(line) > columns] == []


@pytest.mark.parametrize("columns", [30, 80, 120])
def test_every_part_of_a_phase_is_told_and_small_ones_together(columns: int) -> None:
    """In GB: 60 + 30 + 9.5, and 0.3 + 0.2 together; the host's beside them. Stages with equal figures share theirs."""
    parts = {"weights": 30e9, "optimizer": 60e9, "logits": 0.3e9, "slack": 0.2e9, "activations": 9.5e9}
    one = Phase("forward_backward", parts, host=7e9)
    load = Phase("load", {"weights": 30e9, "framework": 0.1e9})
    text = memory_text([stage("sft-a", load, one), stage("sft-b", load, one), stage("other", load)], columns)
    flat = re.sub(r"\s+", " ", text)
    assert "sft-a, -b load 30.10 weights 30.00, framework 0.10" in flat
    whole = "optimizer 60.00, weights 30.00, activations 9.50, rest 0.50, on the host 7.00"
    assert f"forward_backward 100.00* {whole}" in flat
    assert flat.endswith("other load 30.10* weights 30.00, framework 0.10")


def test_ranges_have_one_unit() -> None:
    assert spell(Range(40.1, 68.5, 102.0)) == "68.5 s (40.1 - 102)"
    assert spell(Range(7200, 11160, 18720)) == "3.1 h (2 - 5.2)"
