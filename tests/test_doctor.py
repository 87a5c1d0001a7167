"""`posttrain doctor`: what each check makes of a machine that is not fit, and the table with its exit code."""

import resource
import subprocess
import types
from importlib import metadata
from pathlib import Path

import pytest

from data.errors import UserError
from launch import doctor_gpu, doctor_software, doctor_system, slots
from launch.cli import main
from launch.doctor_finding import Finding, Machine
from launch.slots import require_slots, visible_gpus
from tests.stage_runs import stage, write_pipeline
from training.config import Runtime, load_pipeline

GPU_LINES = "NVIDIA H100 80GB HBM3, 81559, 550.54\n" * 2


def machine(folder: Path | None = None, offline: bool = False, **runtime: object) -> Machine:
    """A machine judged for a pipeline with this runtime, or for the defaults, with an empty environment."""
    if folder is None:
        return Machine(None, {})
    config = write_pipeline(folder, stage("sft", folder=folder), runtime=runtime, offline=offline)
    return Machine(load_pipeline(config), {})


def only(findings: object) -> Finding:
    (finding,) = findings  # type: ignore[misc]
    return finding


def test_doctor_fit_machine_exits_0_and_names_every_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor_gpu, "driver_s_gpus", lambda: None)
    monkeypatch.setattr(doctor_gpu, "has_accelerator", lambda: False)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert main(["doctor", str(config)]) == 0
    shown = capsys.readouterr().out
    checks = ("config", "python", "packages", "cores", "gpu", "shared memory", "runs_dir", "disk", "cache", "clock")
    for name in (*checks, "open files", "compiler", "wandb", "proxy", "slurm"):
        assert f"\n{name} " in shown


def test_doctor_broken_config_exits_2_with_its_place_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path))
    assert main(["doctor", str(config), "runtime.processes=3"]) == 2
    shown = capsys.readouterr().out
    assert "does not divide over 3 ranks" in shown
    assert "python  " in shown


def test_packages_other_than_pinned_fail_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local part of a version names the build and is no difference."""
    version = metadata.version
    changed = {"trl": "1.15.0", "torch": f"{version('torch').split('+')[0]}+cu130"}
    monkeypatch.setattr(metadata, "version", lambda name: changed.get(name) or version(name))
    finding = only(doctor_software.packages(machine()))
    assert finding.state == "fail"
    assert finding.found == f"trl 1.15.0 ({version('trl')} is pinned)"


def test_compiler_is_needed_for_zero_on_cpu_ranks_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_software.shutil, "which", lambda name: None)
    monkeypatch.setattr(doctor_software, "has_accelerator", lambda: False)
    assert only(doctor_software.compiler(machine())).state == "ok"
    finding = only(doctor_software.compiler(machine(tmp_path, zero_stage=2)))
    assert finding.state == "fail"
    assert finding.found.startswith("no c++")


def test_slurm_is_needed_for_several_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_software.shutil, "which", lambda name: None)
    assert only(doctor_software.slurm(machine())).state == "ok"
    assert only(doctor_software.slurm(machine(tmp_path, processes=2, nodes=2))).state == "fail"


def driver(monkeypatch: pytest.MonkeyPatch, code: int = 0, out: str = GPU_LINES) -> None:
    """A machine with nvidia-smi that answers so."""
    monkeypatch.setattr(doctor_gpu.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    done = subprocess.CompletedProcess([], code, out, "")
    monkeypatch.setattr(doctor_gpu.subprocess, "run", lambda *arguments, **options: done)


def test_gpus_listed_and_seen_are_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch)
    view = {"version": "2.13.0+cu130", "count": 2, "nccl": [2, 28, 3], "bf16": True}
    monkeypatch.setattr(doctor_gpu, "torch_s_view", lambda: view)
    gpu, nccl = doctor_gpu.gpus(machine())
    assert gpu.found == "2 x NVIDIA H100 80GB HBM3 80 GiB (driver 550.54); torch 2.13.0+cu130 sees 2"
    assert (gpu.state, nccl.state, nccl.found) == ("ok", "ok", "2.28.3")


def test_gpus_that_torch_does_not_see_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch)
    view = {"version": "2.13.0+cpu", "count": 0, "nccl": None, "bf16": False}
    monkeypatch.setattr(doctor_gpu, "torch_s_view", lambda: view)
    finding = only(doctor_gpu.gpus(machine()))
    assert finding.state == "fail"
    assert "torch 2.13.0+cpu sees none" in finding.found


def test_gpus_with_a_broken_driver_fail_with_its_words(monkeypatch: pytest.MonkeyPatch) -> None:
    driver(monkeypatch, 9, "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\nMake sure\n")
    finding = only(doctor_gpu.gpus(machine()))
    assert finding.state == "fail"
    assert finding.found.startswith("NVIDIA-SMI has failed")


@pytest.mark.parametrize(
    ("free", "processes", "state"),
    [(64 * 10**6, 2, "fail"), (64 * 10**6, 1, "warn"), (500 * 10**6, 2, "warn"), (8 * 10**9, 2, "ok")],
)
def test_shared_memory_of_a_container_is_too_little_for_ranks(
    free: int, processes: int, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor_system.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=free))
    finding = only(doctor_system.shared_memory(machine(tmp_path, processes=processes), tmp_path))
    assert finding.state == state


def test_disk_that_is_nearly_full_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_system.shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=10**8))
    assert [finding.state for finding in doctor_system.disk(machine())][1] == "fail"


def test_runs_dir_below_a_file_fails(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    finding = next(iter(doctor_system.disk(machine(tmp_path, runs_dir="/proc/1/runs"))))
    assert finding.state == "fail"


def test_clock_apart_from_the_file_system_s_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    now = doctor_system.time.time()
    monkeypatch.setattr(doctor_system.time, "time", lambda: now + 300)
    assert only(doctor_system.clock(machine())).state == "fail"


@pytest.mark.parametrize(("limit", "state"), [(256, "fail"), (1024, "warn"), (65536, "ok"), (-1, "ok")])
def test_open_files_by_the_soft_limit(limit: int, state: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (limit, 65536))
    assert only(doctor_system.open_files(machine())).state == state


@pytest.mark.parametrize(
    ("mode", "key", "state"),
    [("auto", "", "warn"), ("auto", "k", "ok"), ("online", "", "fail"), ("offline", "", "ok"), ("disabled", "", "ok")],
)
def test_wandb_by_mode_and_key(mode: str, key: str, state: str, tmp_path: Path) -> None:
    judged = machine(tmp_path, tracker="wandb", tracker_mode=mode)
    assert only(doctor_system.tracker(Machine(judged.pipeline, {"WANDB_API_KEY": key}))).state == state


@pytest.mark.parametrize(
    ("environment", "state"),
    [
        ({}, "ok"),
        ({"https_proxy": "http://proxy:3128", "no_proxy": "localhost,.local"}, "ok"),
        ({"https_proxy": "http://proxy:3128"}, "warn"),
        ({"HTTPS_PROXY": "proxy:3128"}, "fail"),
    ],
)
def test_proxy_by_url_and_exceptions(environment: dict[str, str], state: str) -> None:
    assert only(doctor_system.proxies(Machine(None, environment))).state == state


def test_proxy_password_is_not_shown() -> None:
    finding = only(doctor_system.proxies(Machine(None, {"https_proxy": "http://me:hunter2@proxy:3128"})))
    assert "proxy" in finding.found
    assert "hunter2" not in finding.found


def test_slots_more_ranks_than_gpus_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "null"):
        (tmp_path / name).touch()
    monkeypatch.setattr(slots, "has_accelerator", lambda: True)
    require_slots(Runtime(processes=2), {}, tmp_path)
    with pytest.raises(UserError, match=r"4 ranks need a GPU each, 2 can be seen here; set runtime.processes to 2"):
        require_slots(Runtime(processes=4), {}, tmp_path)
    with pytest.raises(UserError, match="1 can be seen"):
        require_slots(Runtime(processes=2), {"CUDA_VISIBLE_DEVICES": "1"}, tmp_path)
    assert visible_gpus({}, tmp_path) == 2


def test_slots_more_cpu_ranks_than_cores_share_them_on_purpose_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "has_accelerator", lambda: False)
    monkeypatch.setattr(slots, "available_cores", lambda: 2)
    require_slots(Runtime(processes=4, nodes=2))
    require_slots(Runtime(processes=4, threads_per_process=1))
    with pytest.raises(UserError, match=r"4 ranks, but this process may use 2 CPU cores"):
        require_slots(Runtime(processes=4))


@pytest.mark.parametrize(("found", "state"), [(None, "fail"), (object(), "ok")])
def test_tracker_that_is_not_installed_is_told_with_the_pip_line(
    found: object, state: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged = machine(tmp_path, tracker="mlflow")
    monkeypatch.setattr("training.tracker.importlib.util.find_spec", lambda package: found)
    told = only(doctor_system.tracker(Machine(judged.pipeline, {})))
    assert (told.name, told.state) == ("mlflow", state)
    assert state == "ok" or "pip install mlflow" in told.fix
