"""The whole pipeline once, as a user runs it: `posttrain run configs/tiny.yaml` on a random model, base to report."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from launch.cli import main
from tests.stage_runs import metrics, weights
from training.config import load_pipeline
from training.ledger import PHASES
from training.plan import RunPlan, plan_run
from training.record import read_record, verify_record

CONFIG = Path(__file__).resolve().parent.parent / "configs" / "tiny.yaml"
STAGES = ["base", "evaluate-base", "sft", "evaluate-sft", "pairs", "dpo", "evaluate-dpo", "grpo", "evaluate-grpo"]
ONE_THREAD = "runtime.threads_per_process=1"
UNREACHABLE = "stages.dpo.gate={suite: in_domain, min_gain: 0.9}"
OTHER_GRPO = "stages.grpo.trainer.learning_rate=2e-4"


@dataclass(frozen=True)
class Run:
    """A finished run: where it was started, what it printed."""

    folder: Path
    output: str

    @property
    def run_dir(self) -> Path:
        return self.folder / "runs" / "tiny"

    def plan(self, *overrides: str) -> RunPlan:
        return plan_run(load_pipeline(CONFIG, list(overrides)), self.run_dir)

    def stage_folder(self, name: str) -> Path:
        return self.plan()[name].folder

    def again(self, *arguments: str) -> int:
        """Repeat the command with more arguments."""
        return main(["run", str(CONFIG), ONE_THREAD, "--run-dir", str(self.run_dir), *arguments])


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The run, made once by the command itself; it must take less than two minutes on an idle machine."""
    folder = tmp_path_factory.mktemp("tiny")
    command = [str(Path(sys.executable).parent / "posttrain"), "run", str(CONFIG), ONE_THREAD]
    done = subprocess.run(
        command, cwd=folder, env=os.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return Run(folder, done.stdout)


@pytest.fixture
def copied(run: Run, tmp_path: Path) -> Run:
    """A copy of the run that a test may damage or add to."""
    shutil.copytree(run.run_dir, tmp_path / "runs" / "tiny", symlinks=True)
    return Run(tmp_path, run.output)


def json_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_every_stage_has_a_record_that_verifies(run: Run) -> None:
    plan = run.plan()
    assert [stage.name for stage in plan.stages] == STAGES
    for stage in plan.stages:
        assert stage.state == "done"
        assert verify_record(stage.folder) == []
        record = read_record(stage.folder)
        assert record is not None
        assert record["fingerprint"] == stage.fingerprint
        assert [parent["fingerprint"] for parent in record["parents"]] == [
            plan[name].fingerprint for name in stage.parents
        ]
        assert record["files"]


def test_output_has_the_stages_and_a_table_of_all_models(run: Run) -> None:
    table = run.output[run.output.index("evaluate-grpo  done in") :]
    assert all(f"] {name}  " in run.output for name in STAGES)
    assert all(model in table for model in ("base", "sft", "dpo", "grpo"))
    assert "in_domain" in table
    assert "Everything is done" in table
    assert "Traceback" not in run.output
    assert "Warning" not in run.output


def test_second_run_skips_everything(copied: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for starter in ("launch.run.run_ranks", "launch.node.run_ranks"):
        monkeypatch.setattr(starter, lambda *arguments: pytest.fail("a process was started"))
    before = {path: path.stat().st_mtime_ns for path in copied.run_dir.glob("*/record.json")}
    assert len(before) == len(STAGES)
    assert copied.again() == 0
    assert {path: path.stat().st_mtime_ns for path in copied.run_dir.glob("*/record.json")} == before


def test_lineage_of_the_last_model_reaches_the_base(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lineage", str(run.stage_folder("grpo") / "model")]) == 0
    shown = capsys.readouterr().out
    for name in ("grpo", "dpo", "pairs", "sft", "base"):
        assert run.stage_folder(name).name in shown
    assert "evaluate" not in shown


@pytest.mark.parametrize(("stage", "name"), [("sft", "model/model.safetensors"), ("pairs", "data.jsonl")])
def test_lineage_with_one_byte_changed_exits_1_and_names_the_file(
    copied: Run, stage: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    flip_a_byte(copied.stage_folder(stage) / name)
    assert main(["lineage", str(copied.stage_folder("grpo"))]) == 1
    shown = capsys.readouterr().out
    assert f"BROKEN: {copied.stage_folder(stage).name}: {name} has sha256" in shown


def test_one_dpo_hyperparameter_redoes_dpo_and_what_follows(run: Run) -> None:
    plan = run.plan("stages.dpo.trainer.learning_rate=2e-4")
    states = {stage.name: stage.state for stage in plan.stages}
    redone = ["dpo", "evaluate-dpo", "grpo", "evaluate-grpo"]
    assert states == {name: "new" if name in redone else "done" for name in STAGES}
    assert "learning_rate 0.0001 -> 0.0002" in plan["dpo"].reason


@pytest.mark.parametrize(("stage", "steps"), [("sft", 3), ("dpo", 2), ("grpo", 2)])
def test_timing_phases_of_every_step_sum_to_the_step(run: Run, stage: str, steps: int) -> None:
    rows = metrics(run.stage_folder(stage))
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    for row in rows:
        parts = [row[f"timing_s/{phase}"] for phase in (*PHASES, "unaccounted")]
        assert sum(parts) == pytest.approx(row["timing_s/step"], abs=1e-6)
        assert min(parts) >= 0.0
        assert row["timing_s/forward_backward"] > 0.0
        assert row["timing_s/optimizer"] > 0.0
        assert (row["timing_s/generate"] > 0.0) == (stage == "grpo")
        assert row["perf/tokens_per_s"] > 0.0
    ledger = read_record(run.stage_folder(stage))["ledger"]  # type: ignore[index]
    assert ledger["timing_s"]["step"] == pytest.approx(sum(row["timing_s/step"] for row in rows), abs=2e-3)


def test_grpo_samples_have_rewards_and_advantages_of_whole_groups(run: Run) -> None:
    rows = json_lines(run.stage_folder("grpo") / "samples.jsonl")
    assert [row["step"] for row in rows] == [1] * 8 + [2] * 8
    for start in range(0, 16, 4):
        group = rows[start : start + 4]
        assert len({row["prompt"] for row in group}) == 1
        assert all(set(row["rewards"]) == {"answer", "format"} for row in group)
        assert sum(row["advantage"] for row in group) == pytest.approx(0.0, abs=1e-5)
    logged = [row["reward"] for row in metrics(run.stage_folder("grpo"))]
    totals = [row["rewards"]["answer"] + 0.5 * row["rewards"]["format"] for row in rows]
    assert logged == pytest.approx([sum(totals[:8]) / 8, sum(totals[8:]) / 8], abs=1e-6)


def test_trained_weights_differ_from_the_parent_s(run: Run) -> None:
    """Not grpo's: a random model earns nothing there, so that no group has anything to learn from."""
    for child, parent in (("sft", "base"), ("dpo", "sft")):
        ours, theirs = (weights(run.stage_folder(name)) for name in (child, parent))
        assert ours.keys() == theirs.keys()
        assert any(not torch.equal(ours[name], theirs[name]) for name in ours)
        assert all(torch.isfinite(tensor).all() for tensor in ours.values())


def test_every_model_is_measured_on_the_same_items(run: Run) -> None:
    asked = {
        model: [
            (row["suite"], row["item"], row["prompt"])
            for row in json_lines(run.stage_folder(f"evaluate-{model}") / "items.jsonl")
        ]
        for model in ("base", "sft", "dpo", "grpo")
    }
    assert len(asked["base"]) == 8
    assert all(items == asked["base"] for items in asked.values())


def test_report_is_one_file_with_every_stage(run: Run) -> None:
    page = (run.run_dir / "report.html").read_text()
    assert all(name in page for name in ("base", "sft", "pairs", "dpo", "grpo", "in_domain"))
    assert not any(mark in page for mark in ('src="http', 'href="http', "@import", "url(http"))


def test_unmet_gate_exits_3_keeps_the_model_and_starts_nothing_more(
    copied: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gate is no part of dpo's identity: its model and evaluation stay, and what follows does not start."""
    changed = copied.plan(OTHER_GRPO)["grpo"]
    assert changed.state == "new"
    monkeypatch.setattr("launch.run.check_configs", lambda *arguments: 0)
    for starter in ("launch.run.run_ranks", "launch.node.run_ranks"):
        monkeypatch.setattr(starter, lambda *arguments: pytest.fail("a process was started"))
    assert copied.again(UNREACHABLE, OTHER_GRPO) == 3
    assert verify_record(copied.stage_folder("dpo")) == []
    assert not changed.folder.exists()


def test_past_gates_goes_on_behind_an_unmet_gate(
    copied: Run, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.run.check_configs", lambda *arguments: 0)
    assert copied.again(UNREACHABLE, OTHER_GRPO, "--past-gates") == 0
    shown = capfd.readouterr().out
    assert "gate of dpo: NOT met" in shown
    changed = copied.plan(OTHER_GRPO)
    assert changed["grpo"].folder != copied.stage_folder("grpo")
    assert [verify_record(changed[name].folder) for name in ("grpo", "evaluate-grpo")] == [[], []]
    assert verify_record(copied.stage_folder("grpo")) == []
