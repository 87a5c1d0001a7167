"""Every shipped pipeline is accepted by `posttrain plan` without a network, and every sweep loads."""

import re
import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest

from benchmarks.plan_shipped import document
from launch.cli import main
from training.config.sweep import load_sweep
from training.environment import has_accelerator

ROOT = Path(__file__).resolve().parent.parent
ELSEWHERE = ("accelerate", "deepspeed", "sweeps")
PIPELINES = sorted(
    str(path.relative_to(ROOT))
    for path in (ROOT / "configs").rglob("*.yaml")
    if path.relative_to(ROOT / "configs").parts[0] not in ELSEWHERE
)
ON_GPUS = [name for name in PIPELINES if "80 GB" in (ROOT / name).read_text().split("\nname:")[0]]
SWEEPS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "configs" / "sweeps").glob("*.yaml"))


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configs name paths relative to the checkout; whoever opens a connection fails."""

    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise AssertionError("a connection was opened")

    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("config", PIPELINES)
def test_config_shipped_is_planned_offline(config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", config, f"runtime.runs_dir={tmp_path}"]) in (0, 2), config
    shown = capsys.readouterr()
    assert " stages, " in shown.out, shown.err


@pytest.mark.parametrize("config", ON_GPUS)
def test_config_shipped_fits_the_hardware_its_header_names(
    config: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", config, f"runtime.runs_dir={tmp_path}", "--gpu", "h100-80gb"]) == 0
    assert main(["plan", config, f"runtime.runs_dir={tmp_path}", "--gpu", "a100-80gb"]) == 0


@pytest.mark.parametrize("config", [*PIPELINES, *SWEEPS])
def test_config_shipped_says_hardware_time_and_command(config: str) -> None:
    header = "".join(line for line in (ROOT / config).read_text().splitlines(True) if line.startswith("#"))
    assert "Hardware:" in header
    assert "Time:" in header
    commands = re.findall(r"^#   (posttrain \w+ \S+)", header, flags=re.MULTILINE)
    assert commands, config
    assert all(command.split()[2] == config for command in commands)


@pytest.mark.parametrize("sweep", SWEEPS)
def test_sweep_shipped_loads_with_points_that_differ(sweep: str) -> None:
    points = load_sweep(sweep).points
    assert len(points) >= 2
    assert len({point.name for point in points}) == len(points)


@pytest.mark.skipif(has_accelerator(), reason="on a GPU the CPU pipelines are planned for it")
def test_the_page_of_shipped_plans_says_what_plan_says() -> None:
    written = (ROOT / "docs" / "shipped_plans.md").read_text()
    assert written == document(), "write it again: python -m benchmarks.plan_shipped > docs/shipped_plans.md"
