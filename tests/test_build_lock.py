"""Locks that torch's builds leave: stale ones are told from held ones, and a leaving rank takes its own along."""

import os
import time
from pathlib import Path

import pytest

from training.build_lock import release_own_locks, remove_stale_locks, stale_locks


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock that was made an hour ago."""
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    path = tmp_path / "deepspeed_shm_comm" / "lock"
    path.parent.mkdir()
    path.touch()
    os.utime(path, (time.time() - 3600,) * 2)
    return path


def test_stale_lock_is_removed(lock: Path) -> None:
    assert remove_stale_locks() == [lock]
    assert not lock.exists()


def test_lock_that_a_process_holds_stays(lock: Path) -> None:
    with lock.open():
        assert stale_locks() == []
    assert stale_locks() == [lock]


def test_lock_as_young_as_a_build_stays(lock: Path) -> None:
    os.utime(lock)
    assert remove_stale_locks() == []


def test_leaving_process_takes_the_lock_it_holds_and_no_other(lock: Path) -> None:
    other = lock.parent.parent / "cpu_adam" / "lock"
    other.parent.mkdir()
    other.touch()
    with lock.open():
        release_own_locks()
    assert not lock.exists()
    assert other.exists()
