"""A real two-node Slurm cluster on this machine: two nodes under ZeRO-2, requeue, cancel, an array over seeds.

What the jobs leave is compared with an uninterrupted `posttrain run` without Slurm, by the sha256 of the weights.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.slurm_cluster import SlurmCluster, temporary_cluster
from tests.stage_runs import run_stage, stage, write_pipeline
from training.rank_state import read_rank_states
from training.record import read_record
from training.run_folder import RunFolder

pytestmark = [
    pytest.mark.slurm,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="slurmd and munged need root"),
]
STEPS = 40
TIMEOUT_S = 1500.0
POSTTRAIN = [sys.executable, "-m", "launch"]
TWO_RANKS = {"processes": 2, "zero_stage": 2, "checkpoint_every": None}


@pytest.fixture(scope="module")
def cluster() -> Iterator[SlurmCluster]:
    with temporary_cluster() as cluster:
        yield cluster


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two SFT stages on two ranks of two nodes, in a folder whose name needs quoting."""
    folder = tmp_path_factory.mktemp("slurm") / "it's the work folder"
    folder.mkdir()
    runtime = TWO_RANKS | {"nodes": 2, "slurm": {"time": "20", "environment": {"GREETING": "it's a test"}}}
    long = stage("sft", "first", folder=folder, trainer={"max_steps": STEPS})
    return write_pipeline(folder, long, stage("sft", "second", folder=folder), name="two", runtime=runtime)


@pytest.fixture(scope="module")
def uninterrupted(config: Path) -> dict[str, str]:
    """sha256 of the weights of each stage after `posttrain run` on this machine alone."""
    run_dir = config.parent / "alone"
    command = [*POSTTRAIN, "run", str(config), "runtime.nodes=1", "--run-dir", str(run_dir)]
    done = subprocess.run(command, cwd=config.parent, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return weights_of(run_dir)


def weights_of(run_dir: Path) -> dict[str, str]:
    """sha256 of model.safetensors by stage, as the records say."""
    found = {}
    for folder in RunFolder(run_dir).stages():
        record = read_record(folder.path)
        if record is not None and record["kind"] == "sft":
            found[folder.name] = record["files"]["model/model.safetensors"]
    return found


def posttrain(cluster: SlurmCluster, config: Path, *arguments: str) -> str:
    """Call the command line where the pipeline file is and return what it prints; it must exit 0."""
    command = [*POSTTRAIN, *arguments]
    done = subprocess.run(
        command, cwd=config.parent, env=cluster.environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def jobs_of(run_dir: Path) -> dict[str, str]:
    """Job id by stage of the last submission."""
    submission = json.loads((run_dir / "slurm.json").read_text())["submissions"][-1]
    return {job["stage"]: job["id"] for job in submission["jobs"]}


def state_of(cluster: SlurmCluster, job: str) -> str:
    return cluster.call("squeue", "-h", "--states=all", "--array", "-j", job, "-o", "%T").strip()


def wait_until(done: Callable[[], Any], what: str, logs: Path) -> None:
    """Wait; a timeout shows the output of the jobs."""
    deadline = time.monotonic() + TIMEOUT_S
    while not done():
        if time.monotonic() > deadline:
            output = "\n".join(f"{path}\n{path.read_text()[-3000:]}" for path in sorted(logs.glob("*")))
            pytest.fail(f"timeout waiting until {what}\n{output}")
        time.sleep(0.25)


def states_of(run_dir: Path, name: str) -> list[dict[str, Any]]:
    """What the ranks of a stage say of themselves; empty before they start."""
    folder = next((each.path for each in RunFolder(run_dir).stages() if each.name == name), None)
    return read_rank_states(folder) if folder is not None else []


def trains(run_dir: Path, name: str) -> bool:
    """Whether both ranks of a stage are in training."""
    return [state["phase"] for state in states_of(run_dir, name)] == ["train", "train"]


def test_a_requeued_chain_over_two_nodes_equals_an_uninterrupted_run(
    cluster: SlurmCluster, config: Path, uninterrupted: dict[str, str]
) -> None:
    """USR1 as before a time limit: the job checkpoints, requeues itself, resumes; `second` waits for it all along."""
    posttrain(cluster, config, "submit", str(config))
    run_dir = config.parent / "runs" / "two"
    jobs = jobs_of(run_dir)
    assert "pending (Dependency of" in posttrain(cluster, config, "status", str(config))
    wait_until(lambda: trains(run_dir, "first"), "the first stage trains", run_dir / "logs")
    cluster.call("scancel", "--batch", "--signal=USR1", jobs["first"])
    restarts = ("squeue", "-h", "-j", jobs["first"], "-O", "RestartCnt")
    wait_until(lambda: cluster.call(*restarts).strip() == "1", "the job is requeued", run_dir / "logs")
    assert [state["outcome"] for state in states_of(run_dir, "first")] == ["preempted"] * 2
    assert state_of(cluster, jobs["second"]) == "PENDING"
    ended = ("COMPLETED", "FAILED", "CANCELLED")
    wait_until(lambda: state_of(cluster, jobs["second"]) in ended, "the second stage ends", run_dir / "logs")
    assert [state_of(cluster, jobs[name]) for name in ("first", "second")] == ["COMPLETED", "COMPLETED"]
    output = next((run_dir / "logs").glob("slurm-first-*.out")).read_text()
    assert "restart 0" in output
    assert "restart 1" in output
    assert "resum" in output
    record = read_record(next(each.path for each in RunFolder(run_dir).stages() if each.name == "first"))
    assert record is not None
    assert (record["environment"]["processes"], record["environment"]["zero_stage"]) == (2, 2)
    assert weights_of(run_dir) == uninterrupted


def test_cancel_ends_the_jobs_of_one_run_for_good(cluster: SlurmCluster, config: Path) -> None:
    """A training job that hears TERM leaves with 75 as well, but what is cancelled does not come back."""
    other = cluster.call("sbatch", "--parsable", "--hold", "--output=/dev/null", "--wrap", "sleep 1").strip()
    run_dir = config.parent / "runs" / "cancelled"
    posttrain(cluster, config, "submit", str(config), "--run-dir", str(run_dir))
    jobs = jobs_of(run_dir)
    wait_until(lambda: trains(run_dir, "first"), "the first stage trains", run_dir / "logs")
    posttrain(cluster, config, "cancel", str(run_dir))
    wait_until(lambda: state_of(cluster, jobs["first"]) == "CANCELLED", "the job is gone", run_dir / "logs")
    time.sleep(2)
    assert [state_of(cluster, jobs[name]) for name in ("first", "second")] == ["CANCELLED", "CANCELLED"]
    assert state_of(cluster, other) == "PENDING"
    for state in (each for folder in RunFolder(run_dir).stages() for each in read_rank_states(folder.path)):
        with pytest.raises(ProcessLookupError):
            os.kill(state["pid"], signal.SIGCONT)
    cluster.call("scancel", other)


def test_an_array_over_two_seeds_gives_two_runs(cluster: SlurmCluster, config: Path) -> None:
    overrides = ["runtime.processes=1", "runtime.nodes=1", "runtime.zero_stage=0", "name=seeded"]
    overrides += ["stages.first.trainer.max_steps=2"]
    posttrain(cluster, config, "submit", str(config), *overrides, "--seeds", "1,2")
    folder = config.parent / "runs" / "seeded-seeds"
    runs = [folder / "seed-1", folder / "seed-2"]
    last = [jobs_of(run)["second"] for run in runs]
    assert [job.partition("_")[2] for job in last] == ["0", "1"]
    ended = ("COMPLETED", "FAILED", "CANCELLED")
    wait_until(lambda: all(state_of(cluster, job) in ended for job in last), "the array ends", folder / "logs")
    assert [state_of(cluster, job) for job in last] == ["COMPLETED", "COMPLETED"]
    one, two = (weights_of(run) for run in runs)
    assert one.keys() == two.keys() == {"first", "second"}
    assert one["second"] != two["second"]
    alone = config.parent / "seed-2-alone"
    for name in ("first", "second"):
        given = [word for override in [*overrides, "seed=2"] for word in ("--set", override)]
        assert run_stage(config, name, *given, "--run-dir", str(alone)) == 0
    assert weights_of(alone) == two


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two SFT stages, the first with a gate that no two steps can meet; a job's time limit in its output."""
    folder = tmp_path_factory.mktemp("gated")
    first = stage("sft", "first", folder=folder, gate={"suite": "counting", "min_gain": 0.9})
    asked = [{"prompt": f"Say {number}", "answer": str(number)} for number in range(4)]  # no stage trains on these
    (folder / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
    return write_pipeline(
        folder,
        first,
        stage("sft", "second", folder=folder),
        name="gated",
        suites={"counting": {"items": 4, "data": {"path": str(folder / "asked.jsonl")}}},
        evaluate={"suites": ["counting"], "max_completion_length": 4},
        runtime={"slurm": {"time": "20", "setup": ["trap 'echo \"ends at $SLURM_JOB_END_TIME\"' EXIT"]}},
    )


def recorded(run_dir: Path) -> set[str]:
    """The stages with a record."""
    return {folder.name for folder in RunFolder(run_dir).stages() if read_record(folder.path) is not None}


def test_a_gate_not_met_ends_the_chain_there(cluster: SlurmCluster, gated: Path) -> None:
    run_dir = gated.parent / "chained"
    posttrain(cluster, gated, "submit", str(gated), "--run-dir", str(run_dir))
    jobs = jobs_of(run_dir)
    last = [jobs[name] for name in ("evaluate-first", "second")]
    ended = ("COMPLETED", "FAILED", "CANCELLED")
    wait_until(lambda: all(state_of(cluster, job) in ended for job in last), "the chain ends", run_dir / "logs")
    assert [state_of(cluster, job) for job in last] == ["FAILED", "CANCELLED"]
    assert "ExitCode=3:0" in cluster.call("scontrol", "show", "job", last[0])
    assert recorded(run_dir) == {"base", "evaluate-base", "first", "evaluate-first"}


def test_one_job_runs_all_stages_and_knows_when_it_must_have_ended(cluster: SlurmCluster, gated: Path) -> None:
    run_dir = gated.parent / "alone"
    posttrain(cluster, gated, "submit", str(gated), "--one-job", "--run-dir", str(run_dir))
    (job,) = json.loads((run_dir / "slurm.json").read_text())["submissions"][-1]["jobs"]
    wait_until(lambda: state_of(cluster, job["id"]) in ("COMPLETED", "FAILED"), "the job ends", run_dir / "logs")
    assert "ExitCode=3:0" in cluster.call("scontrol", "show", "job", job["id"])
    assert recorded(run_dir) == {"base", "evaluate-base", "first", "evaluate-first"}
    (output,) = (run_dir / "logs").glob("slurm-*.out")
    end = float(re.findall(r"ends at (\d+)", output.read_text())[0])
    assert 0 < end - time.time() < 20 * 60
    posttrain(cluster, gated, "submit", str(gated), "--one-job", "--past-gates", "--run-dir", str(run_dir))
    (again,) = json.loads((run_dir / "slurm.json").read_text())["submissions"][-1]["jobs"]
    wait_until(lambda: state_of(cluster, again["id"]) in ("COMPLETED", "FAILED"), "the job ends", run_dir / "logs")
    assert state_of(cluster, again["id"]) == "COMPLETED"
    assert recorded(run_dir) >= {"second", "evaluate-second"}
