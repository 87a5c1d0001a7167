"""Batch scripts: how they read, how they quote, and what their shell does with signals and exit codes."""

import os
import shlex
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from data.errors import UserError
from launch.slurm.cluster import minutes, read_partitions
from launch.slurm.container import container_of, inside, one_task_inside
from launch.slurm.jobs import Job
from launch.slurm.script import Batch, Member, check_paths, quoted, script_text
from tests.fake_slurm import PARTITIONS, FakeSlurm
from training.config import Runtime
from training.config.slurm import Container, Slurm

RUNNER = """\
trap 'echo got-usr1 >> heard; exit {code}' USR1
trap 'echo got-term >> heard; exit {code}' TERM
for _ in $(seq 200); do sleep 0.05; done
"""


def batch(folder: Path, *members: Member, **slurm: object) -> Batch:
    """A submission in `folder` of the members given, else of one run."""
    settings = Slurm.model_validate({"time": "30"} | slurm)
    only = (Member("demo", ("seed=3", "stages.sft.trainer.learning_rate=1e-4"), folder / "run's"),)
    config, logs = folder / "the config.yaml", folder / "logs"
    return Batch("demo", config, members or only, Runtime(), settings, folder, logs, is_array=bool(members))


def argv_of(script: str, environment: dict[str, str] | None = None) -> list[str]:
    """What the script calls, as its shell splits it: the runner is replaced by a program that prints its arguments."""
    command = next(line for line in script.splitlines() if " -m launch run " in line)
    before, _, after = script.partition(command)
    words = command.removesuffix(" &").split(" ", 1)
    shown = f"{before}printf '%s\\n' {words[1]}\nexit 0\n{after}"
    variables = {"SLURM_JOB_ID": "1", "SLURM_JOB_NODELIST": "n1", "SLURM_CPUS_PER_TASK": "1"} | (environment or {})
    done = subprocess.run(["bash", "-c", shown], env=os.environ | variables, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[1:]


def test_script_passes_paths_and_overrides_on_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "a b'c\"d$x"
    folder.mkdir()
    argv = argv_of(script_text(batch(folder), Job("sft", "sft")))
    config, run_dir = str(folder / "the config.yaml"), str(folder / "run's")
    overrides = ["seed=3", "stages.sft.trainer.learning_rate=1e-4"]
    assert argv == ["-P", "-m", "launch", "run", config, *overrides, "--stage", "sft", "--run-dir", run_dir]


@pytest.mark.parametrize("task", [0, 1])
def test_script_of_an_array_runs_the_member_of_its_number(tmp_path: Path, task: int) -> None:
    members = [Member(f"m{n}", (f"name=it's {n}",), tmp_path / f"run {n}") for n in range(2)]
    script = script_text(batch(tmp_path, *members, array_limit=1), Job("sft", "sft"))
    argv = argv_of(script, {"SLURM_ARRAY_TASK_ID": str(task)})
    assert "#SBATCH --array=0-1%1" in script.splitlines()
    assert f"name=it's {task}" in argv
    assert argv[-1] == str(tmp_path / f"run {task}")


def test_script_prepares_what_the_config_asks_for_and_stops_when_that_fails(tmp_path: Path) -> None:
    given = {"environment": {"GREETING": "it's $HOME"}, "setup": ["test \"$GREETING\" = 'it'\"'\"'s $HOME'"]}
    assert argv_of(script_text(batch(tmp_path, **given), Job("sft", "sft")))
    failing = script_text(batch(tmp_path, setup=["false"]), Job("sft", "sft"))
    with pytest.raises(subprocess.CalledProcessError):
        argv_of(failing)


def test_script_asks_for_what_the_config_says(tmp_path: Path) -> None:
    given = {"account": "a", "partition": "p,q", "gpus_per_node": 8, "mem": "0", "options": ["--exclusive"]}
    nodes = replace(batch(tmp_path, **given), runtime=Runtime(processes=16, nodes=2, threads_per_process=4))
    options = [
        line.removeprefix("#SBATCH ")
        for line in script_text(nodes, Job("sft", "sft")).splitlines()
        if line.startswith("#SBATCH")
    ]
    wanted = {"--account=a", "--partition=p,q", "--gpus-per-node=8", "--mem=0", "--exclusive", "--nodes=2"}
    wanted |= {"--ntasks-per-node=1", "--cpus-per-task=32", "--signal=B:USR1@120", "--open-mode=append", "--requeue"}
    assert wanted <= set(options)


@pytest.mark.parametrize(
    ("sent", "code", "state", "restarts", "requeued"),
    [
        (signal.SIGUSR1, 75, "RUNNING", 0, True),
        (signal.SIGTERM, 75, "RUNNING", 3, True),
        (signal.SIGUSR1, 75, "RUNNING", 4, False),
        (signal.SIGTERM, 75, "COMPLETING", 0, False),
        (signal.SIGUSR1, 3, "RUNNING", 0, False),
    ],
)
def test_script_forwards_signals_and_requeues_itself_only_after_75(
    tmp_path: Path, sent: int, code: int, state: str, restarts: int, requeued: bool
) -> None:
    """At most 4 restarts; a job that is being cancelled is COMPLETING and stays out of the queue."""
    fake = FakeSlurm(tmp_path / "fake")
    (fake.folder / "state").write_text(f"{state}\n")
    runner = tmp_path / "runner"
    runner.write_text(RUNNER.format(code=code))
    text = script_text(batch(tmp_path, max_requeues=4), Job("sft", "sft"))
    command = next(line for line in text.splitlines() if " -m launch run " in line)
    script = tmp_path / "job"
    script.write_text(text.replace(command, f"bash {shlex.quote(str(runner))} & touch started"))
    environment = os.environ | {"PATH": fake.search_path, "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "n1"}
    environment |= {"SLURM_RESTART_COUNT": str(restarts), "SLURM_CPUS_PER_TASK": "1"}
    job = subprocess.Popen(["bash", str(script)], env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not (tmp_path / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.2)  # the runner's own traps
    job.send_signal(sent)
    assert job.wait(20) == code
    assert (tmp_path / "heard").read_text() == f"got-{'usr1' if sent == signal.SIGUSR1 else 'term'}\n"
    assert fake.calls("scontrol") == ([["requeue", "7"]] if requeued else [])


def test_script_without_checkpoints_restarts_only_a_few_times(tmp_path: Path) -> None:
    assert "at most 50" in script_text(batch(tmp_path), Job("sft", "sft"))
    assert 'at most 5"' in script_text(batch(tmp_path), Job("evaluate-sft", "evaluate-sft", resumes=False))


@pytest.mark.parametrize(("text", "in_minutes"), [("30", 30), ("1:30", 1.5), ("2:00:00", 120), ("1-2", 1560)])
def test_times_are_read_as_slurm_reads_them(text: str, in_minutes: float) -> None:
    assert minutes(text) == in_minutes


def test_partitions_are_read_from_sinfo() -> None:
    groups = read_partitions(PARTITIONS)
    assert [(g.partition, g.is_default, g.is_up, g.nodes, g.gpus) for g in groups] == [
        ("main", True, True, 2, 0),
        ("gpu", False, True, 4, 8),
        ("dark", False, False, 9, 0),
    ]
    assert (groups[0].minutes, groups[1].minutes) == (None, 2880)


def test_a_path_that_no_script_can_name_is_refused() -> None:
    with pytest.raises(UserError, match="control character"):
        check_paths([Path("/tmp/a\nb")])


def test_values_of_sbatch_lines_are_quoted_where_they_need_it() -> None:
    assert (quoted("plain/word-1"), quoted('a "b" \\ c')) == ("plain/word-1", '"a \\"b\\" \\\\ c"')


def test_ranks_in_a_container_are_started_by_its_own_python_with_our_folders_mounted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POSTTRAIN_CACHE", str(tmp_path / "cache"))
    command = ["/venv/bin/python", "-m", "launch.node", "c.yaml"]
    for name in ("pyxis", "apptainer"):
        container = Container(image="img.sif", runtime=name, mounts=["/data:/data"], python="/opt/python")
        words = inside(container, command, Path("c.yaml"), tmp_path / "runs" / "x")
        assert words[-4:] == ["/opt/python", "-m", "launch.node", "c.yaml"]
        mounts = next(word for word in words if word.endswith("/data:/data")).rpartition("=")[2].split(",")
        assert {f"{tmp_path}:{tmp_path}", f"{tmp_path}/runs/x:{tmp_path}/runs/x", "/data:/data"} <= set(mounts)
        assert (words[0] == "--container-image=img.sif") == (name == "pyxis")
        assert one_task_inside(None, command, Path("c.yaml"), tmp_path) == command


def test_a_container_is_used_in_a_job_only() -> None:
    slurm = Slurm.model_validate({"time": "1", "container": {"image": "x", "runtime": "pyxis"}})
    assert container_of(Runtime(slurm=slurm), {}) is None
    assert container_of(Runtime(slurm=slurm), {"SLURM_JOB_ID": "1"}) == slurm.container
