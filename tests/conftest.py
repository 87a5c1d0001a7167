"""Fixtures shared by all tests: an own cache folder, no network, and the tiny random model."""

import os
import shutil
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share the cores
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("DS_ACCELERATOR", "cpu")
os.environ.setdefault("WANDB_MODE", "offline")

NEEDS = {
    "slurm": ("slurmctld", "Slurm is not installed: apt-get install slurm-wlm munge"),
    "browser": ("chromium", "headless Chromium is not installed: apt-get install chromium"),
    "coq": ("coqc", "Coq is not installed: apt-get install coq"),
    "gpu": ("nvidia-smi", "no CUDA device on this machine"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip marked tests with the reason where their component is missing."""
    for item in items:
        for marker, (program, reason) in NEEDS.items():
            if item.get_closest_marker(marker) and shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def tiny_model() -> Path:
    """Folder of the bundled tiny random Llama."""
    from training.bundled import materialise

    return materialise("tiny-random")


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A made-up run (tests.fake_run), for comparisons."""
    from tests.fake_run import write_fake_run

    return write_fake_run(tmp_path / "before")


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """The same run in another folder; tests change what they are about (tests.changed_run)."""
    from tests.fake_run import write_fake_run

    return write_fake_run(tmp_path / "after")


@pytest.fixture
def no_wandb_login(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No key, server or setting of wandb's, neither this machine's nor an earlier test's."""
    from wandb.sdk.lib import wbauth

    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_PROJECT", "WANDB_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no-netrc"))
    wbauth.unauthenticate_session()
