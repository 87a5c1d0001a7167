"""A full disk is told as such, whatever kind of error the library raises, and a stage goes on when there is room."""

import errno
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from safetensors import SafetensorError

from tests.stage_runs import stage, write_pipeline
from training.full_disk import is_full_disk

TORCH = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 576 vs 534")


def raised_from(cause: BaseException) -> RuntimeError:
    """An error raised while `cause` was handled."""
    try:
        try:
            raise cause
        except type(cause) as error:
            raise RuntimeError("the checkpoint could not be written") from error
    except RuntimeError as error:
        return error


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
        raised_from(OSError(errno.ENOSPC, "No space left on device")),
    ],
)
def test_is_full_disk_by_what_was_raised(error: BaseException, tmp_path: Path) -> None:
    assert is_full_disk(error, tmp_path)


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), ValueError("28"), TORCH])
def test_is_full_disk_other_errors_are_not_with_room_left(error: BaseException, tmp_path: Path) -> None:
    assert not is_full_disk(error, tmp_path)


def test_is_full_disk_torch_s_silent_error_is_judged_by_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: types.SimpleNamespace(free=4096))
    assert is_full_disk(TORCH, tmp_path)
    assert not is_full_disk(ValueError("a mistake of ours"), tmp_path)


PRIVATE_MOUNT = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    """Whether this user may mount a file system of its own in a namespace."""
    if shutil.which("unshare") is None:
        return False
    probe = [*PRIVATE_MOUNT, "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(probe, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="this user may not mount a tmpfs in a namespace of its own")
def test_stage_on_a_disk_too_small_for_a_checkpoint_trains_on_and_fails_only_where_its_model_has_no_room(
    tmp_path: Path,
) -> None:
    """400 KiB hold neither; once the disk has grown the same command finishes the stage."""
    config = write_pipeline(tmp_path, stage("sft", folder=tmp_path), runtime={"checkpoint_every": 1})
    disk = tmp_path / "disk"
    disk.mkdir()
    command = f"{sys.executable} -m training.run_stage {config} --stage sft --run-dir {disk}/run"
    script = f"""
        mount -t tmpfs -o size=400k tmpfs {disk} || exit 9
        {command}; echo "exit $?"
        ls {disk}/run/*/checkpoints/
        mount -o remount,size=8m {disk} || exit 9
        {command}; echo "exit $?"
        ls {disk}/run/*/record.json
    """
    done = subprocess.run([*PRIVATE_MOUNT, "sh", "-c", script], capture_output=True, text=True, check=False)
    first, _, second = done.stdout.partition("exit 1\n")
    assert "step 2/2" in first
    assert "checkpoint-" not in second
    assert "exit 0\n" in second
    assert second.count("record.json") == 2
    assert [done.stderr.count(f"checkpoint-{step} COULD NOT BE SAVED: it takes about") for step in (1, 2)] == [1, 1]
    assert done.stderr.count("error: no space left on the device") == 1
    assert "Traceback" not in done.stderr
