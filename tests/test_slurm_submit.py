"""`posttrain submit`, `status` and `cancel` against stand-ins for sbatch, squeue, sinfo and scancel."""

import errno
import json
import os
import shutil
from pathlib import Path

import pytest

from launch.cli import main
from launch.lock import RunLock
from tests.config_files import PIPELINE, write
from tests.fake_artifacts import finish
from tests.fake_slurm import FakeSlurm
from training.config import load_pipeline
from training.plan import plan_run
from training.run_folder import RunFolder

SLURM = "  slurm: {time: '30', cpus_per_task: 4}\n"
STAGES = ["evaluate-base", "sft", "evaluate-sft", "pairs", "dpo", "evaluate-dpo", "grpo", "evaluate-grpo"]


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    """The stand-ins on PATH, a pipeline that asks for Slurm, and a folder with a space and a quote to work in."""
    work = tmp_path / "it's a folder"
    work.mkdir()
    fake = FakeSlurm(tmp_path / "fake")
    monkeypatch.setenv("PATH", fake.search_path)
    monkeypatch.chdir(work)
    write(work, PIPELINE + SLURM)
    return fake


def dependencies(slurm: FakeSlurm) -> dict[str, str]:
    """The --dependency of each sbatch call by the stage of its script."""
    found = {}
    for call in slurm.calls("sbatch"):
        stage = Path(call[-1]).stem.partition("-")[2]
        found[stage] = next((word.partition("=")[2] for word in call if word.startswith("--dependency")), "")
    return found


def test_submit_lets_an_evaluation_run_beside_the_next_stage_unless_a_gate_waits_for_it(slurm: FakeSlurm) -> None:
    """Jobs are numbered from 1 in the pipeline's order; only dpo has a gate, over its parent sft."""
    assert main(["submit", "demo.yaml"]) == 0
    assert dependencies(slurm) == {
        "evaluate-base": "",
        "sft": "",
        "evaluate-sft": "afterok:2",
        "pairs": "afterok:2",
        "dpo": "afterok:2:4",
        "evaluate-dpo": "afterok:5:3",
        "grpo": "afterok:5:6",
        "evaluate-grpo": "afterok:7:6",
    }


def test_submit_past_gates_waits_for_no_evaluation(slurm: FakeSlurm) -> None:
    assert main(["submit", "demo.yaml", "--past-gates"]) == 0
    assert dependencies(slurm)["grpo"] == "afterok:5"


def test_submit_writes_down_jobs_and_the_files_of_the_run(slurm: FakeSlurm) -> None:
    assert main(["submit", "demo.yaml", "seed=3"]) == 0
    run = Path("runs/demo")
    (submission,) = json.loads((run / "slurm.json").read_text())["submissions"]
    assert [(job["id"], job["stage"]) for job in submission["jobs"]] == [(str(n + 1), s) for n, s in enumerate(STAGES)]
    assert all(Path(job["script"]).is_file() and Path(job["script"]).is_absolute() for job in submission["jobs"])
    assert json.loads((run / "pipeline.resolved.json").read_text())["seed"] == 3
    assert (run / "slurm" / "001" / "pipeline.yaml").read_text() == Path("demo.yaml").read_text()


def test_submit_leaves_out_finished_stages(slurm: FakeSlurm) -> None:
    plan = plan_run(load_pipeline("demo.yaml"), Path("runs/demo"))
    for name in ("base", "evaluate-base", "sft"):
        finish(plan, plan[name])
    pipeline = load_pipeline("demo.yaml")
    RunFolder(plan.run_dir).write_resolved(pipeline, Path("demo.yaml"), [], plan.fingerprints, plan.folders)
    assert main(["submit", "demo.yaml"]) == 0
    assert list(dependencies(slurm)) == STAGES[2:]
    assert dependencies(slurm)["pairs"] == ""


def test_submit_one_job_runs_the_whole_pipeline(slurm: FakeSlurm) -> None:
    assert main(["submit", "demo.yaml", "--one-job"]) == 0
    (call,) = slurm.calls("sbatch")
    assert "--stage" not in Path(call[-1]).read_text()


def test_submit_seeds_is_an_array_whose_tasks_wait_for_their_own_number(slurm: FakeSlurm) -> None:
    assert main(["submit", "demo.yaml", "--seeds", "4,5", "--past-gates"]) == 0
    assert dependencies(slurm)["evaluate-sft"] == "aftercorr:2"
    for index, seed in enumerate((4, 5)):
        run = Path(f"runs/demo-seeds/seed-{seed}")
        assert json.loads((run / "pipeline.resolved.json").read_text())["seed"] == seed
        (submission,) = json.loads((run / "slurm.json").read_text())["submissions"]
        assert [job["id"] for job in submission["jobs"]][:2] == [f"1_{index}", f"2_{index}"]


def test_submit_dry_run_needs_no_slurm_and_submits_nothing(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", os.defpath)
    assert main(["submit", "demo.yaml", "--dry-run"]) == 0
    scripts = sorted(Path("runs/demo/slurm/001").glob("*.sbatch"))
    assert [path.stem for path in scripts] == [f"{n + 1:02d}-{stage}" for n, stage in enumerate(STAGES)]
    shown = capsys.readouterr().out
    assert all(str(path.absolute()) in shown for path in scripts)
    assert not Path("runs/demo/slurm.json").exists()
    assert slurm.calls("sbatch") == []


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["runtime.slurm=null"], "runtime.slurm is missing"),
        (["runtime.slurm.partition=gpuu"], "did you mean gpu?"),
        (["runtime.slurm.partition=dark"], "dark is down"),
        (["runtime.slurm.partition=gpu", "runtime.slurm.time=3-00"], "2880 minutes"),
        (["runtime.slurm.cpus_per_task=16"], "main has 8"),
        (["runtime.nodes=2", "runtime.processes=2", "runtime.slurm.gpus_per_node=4"], "main has 0"),
        (["runtime.slurm.environment_file=absent.env"], "absent.env"),
        (["runtime.slurm.environment.WANDB_API_KEY=x"], "environment.WANDB_API_KEY looks like a secret"),
        (["runtime.slurm.setup=[export HF_TOKEN=x]"], "HF_TOKEN"),
        (["runtime.slurm.options=[--requeue]"], "--requeue is set by posttrain"),
        (["runtime.slurm.time=soon"], "must be minutes"),
        (["runtime.slurm.gpus_per_node=1"], "2 ranks of a node"),
        (["runtime.slurm.cpus_per_task=1"], "2 ranks of a node"),
    ],
)
def test_submit_refuses_what_cannot_run_with_one_message(
    slurm: FakeSlurm, capsys: pytest.CaptureFixture[str], overrides: list[str], told: str
) -> None:
    assert main(["submit", "demo.yaml", *overrides]) == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "Traceback" not in shown
    assert slurm.calls("sbatch") == []


def test_submit_without_sbatch_exits_2(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(slurm.folder))
    assert main(["submit", "demo.yaml"]) == 2
    assert "no `sbatch` on this machine" in capsys.readouterr().err


def test_submit_refused_midway_takes_the_first_jobs_back(slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    (slurm.folder / "refuse-from").write_text("2")
    assert main(["submit", "demo.yaml"]) == 2
    assert "Invalid account" in capsys.readouterr().err
    assert slurm.calls("scancel") == [["2", "1"]]


def test_submit_again_while_jobs_wait_is_refused(slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["submit", "demo.yaml"]) == 0
    slurm.show(("2", "RUNNING", "demo.sft"))
    assert main(["submit", "demo.yaml"]) == 2
    assert "posttrain cancel" in capsys.readouterr().err
    slurm.show(("2", "FAILED", "demo.sft"))
    assert main(["submit", "demo.yaml"]) == 0
    assert Path("runs/demo/slurm/002/02-sft.sbatch").is_file()


SWEEP = "name: tried\nconfig: demo.yaml\ngrid: {KEY: [1, 2]}\n"


@pytest.mark.parametrize(("key", "code"), [("seed", 0), ("runtime.keep_checkpoints", 2)])
def test_submit_array_takes_the_points_of_a_sweep_that_ask_for_the_same(
    slurm: FakeSlurm, capsys: pytest.CaptureFixture[str], key: str, code: int
) -> None:
    Path("sweep.yaml").write_text(SWEEP.replace("KEY", key))
    assert main(["submit", "demo.yaml", "--array", "sweep.yaml"]) == code
    assert len(slurm.calls("sbatch")) == (len(STAGES) if code == 0 else 0)
    assert ("cannot vary" in capsys.readouterr().err) == (code == 2)


def test_submit_on_a_full_disk_exits_2(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(shutil, "copyfile", full)
    assert main(["submit", "demo.yaml"]) == 2
    assert "no space left" in capsys.readouterr().err
    assert slurm.calls("sbatch") == []


def test_submit_beside_a_local_run_is_refused(slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]) -> None:
    with RunLock(Path("runs/demo")):
        assert main(["submit", "demo.yaml"]) == 2
    assert f"process {os.getpid()}" in capsys.readouterr().err


def test_submit_environment_file_that_others_can_read_is_refused(
    slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    secrets = Path("secrets.env")
    secrets.write_text("WANDB_API_KEY=x\n")
    secrets.chmod(0o644)
    assert main(["submit", "demo.yaml", "runtime.slurm.environment_file=secrets.env"]) == 2
    assert "chmod 600" in capsys.readouterr().err
    secrets.chmod(0o600)
    assert main(["submit", "demo.yaml", "runtime.slurm.environment_file=secrets.env"]) == 0
    assert all("WANDB_API_KEY" not in path.read_text() for path in Path("runs/demo/slurm/001").iterdir())


def test_cancel_takes_back_the_living_jobs_of_the_run_and_no_others(
    slurm: FakeSlurm, capsys: pytest.CaptureFixture[str]
) -> None:
    """Job 1 has ended, 9 is another run's, and 4 is somebody's job of the same number on a cluster set up anew."""
    assert main(["submit", "demo.yaml"]) == 0
    slurm.show(
        ("1", "COMPLETED", "demo.evaluate-base"),
        ("2", "RUNNING", "demo.sft"),
        ("3", "PENDING", "demo.evaluate-sft"),
        ("4", "RUNNING", "other"),
        ("9", "RUNNING", "other.sft"),
    )
    assert main(["cancel", "demo"]) == 0
    assert slurm.calls("scancel") == [["3", "2"]]
    assert "cancelled job 2 demo.sft" in capsys.readouterr().out


def test_status_shows_the_queue_and_does_without_it(
    slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", "demo.yaml"]) == 0
    slurm.show(("2", "RUNNING", "demo.sft"))
    assert main(["status", "demo"]) == 0
    shown = capsys.readouterr().out
    assert [line.split()[:3] for line in shown.splitlines() if line.startswith("2 ")] == [["2", "sft", "running"]]
    assert "left the queue" in shown
    monkeypatch.setenv("PATH", "/nowhere")
    assert main(["status", "demo"]) == 0
    assert "state is not known here" in capsys.readouterr().out
