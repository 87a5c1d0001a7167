"""Checkpoints exist with their manifest alone; damaged ones are set aside, foreign ones refused."""

import threading
import time
from pathlib import Path
from typing import Any

import pytest

import training.checkpoint
from data.errors import UserError
from training.checkpoint import MANIFEST, commit, committed, manifest_facts, newest_whole
from training.world import World

ALONE = World(0, 0, 1)
FACTS = {"processes": 1, "zero_stage": 0, "fingerprint": "ab"}


def write(folder: Path, step: int, keep: int = 9) -> Path:
    """A committed checkpoint with two files."""
    checkpoint = folder / f"checkpoint-{step}"
    (checkpoint / "shards").mkdir(parents=True)
    (checkpoint / "model.bin").write_bytes(bytes(range(100)))
    (checkpoint / "shards" / "0.bin").write_text(f"step {step}")
    commit(checkpoint, keep, FACTS)
    return checkpoint


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_newest_whole_of_nothing_is_none(tmp_path: Path) -> None:
    assert newest_whole(tmp_path / "absent", ALONE, FACTS) is None


def test_newest_whole_orders_by_number_not_by_name(tmp_path: Path) -> None:
    for step in (2, 10, 9):
        write(tmp_path, step)
    assert newest_whole(tmp_path, ALONE, FACTS) == tmp_path / "checkpoint-10"


def test_newest_whole_ignores_a_folder_without_a_manifest(tmp_path: Path) -> None:
    whole = write(tmp_path, 2)
    (write(tmp_path, 4) / MANIFEST).rename(tmp_path / "checkpoint-4" / (MANIFEST + ".tmp"))
    assert newest_whole(tmp_path, ALONE, FACTS) == whole


@pytest.mark.parametrize("name", ["model.bin", "shards/0.bin", MANIFEST])
def test_newest_whole_sets_a_damaged_one_aside_and_uses_the_one_before(tmp_path: Path, name: str) -> None:
    before, damaged = write(tmp_path, 2), write(tmp_path, 4)
    path = damaged / name
    if name == MANIFEST:
        path.write_text(path.read_text()[:-20])
    else:
        flip_a_byte(path)
    assert newest_whole(tmp_path, ALONE, FACTS) == before
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["checkpoint-2", "checkpoint-4.damaged"]


def test_newest_whole_lost_file_is_damage(tmp_path: Path) -> None:
    (write(tmp_path, 2) / "model.bin").unlink()
    assert newest_whole(tmp_path, ALONE, FACTS) is None


def test_newest_whole_goes_on_beside_folders_set_aside_earlier(tmp_path: Path) -> None:
    """The folder set aside still holds its manifest; the same step may be damaged twice."""
    for _ in range(2):
        before = tmp_path / "checkpoint-2"
        if not before.exists():
            write(tmp_path, 2)
        flip_a_byte(write(tmp_path, 4) / "model.bin")
        assert newest_whole(tmp_path, ALONE, FACTS) == before
    newest = write(tmp_path, 6)
    assert newest_whole(tmp_path, ALONE, FACTS) == newest


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"zero_stage": 2}, "zero_stage was 0, is 2"),
        ({"fingerprint": "cd"}, "fingerprint was ab, is cd"),
    ],
)
def test_newest_whole_other_facts_are_refused_naming_them(tmp_path: Path, changed: dict[str, int], words: str) -> None:
    write(tmp_path, 2)
    with pytest.raises(UserError, match=words):
        newest_whole(tmp_path, ALONE, {**FACTS, **changed})


def test_newest_whole_of_another_number_of_ranks_is_left_to_be_converted(tmp_path: Path) -> None:
    checkpoint = write(tmp_path, 2)
    assert newest_whole(tmp_path, ALONE, {**FACTS, "processes": 2}) == checkpoint
    assert manifest_facts(checkpoint) == FACTS


def test_commit_keeps_the_newest_and_spares_what_is_set_aside(tmp_path: Path) -> None:
    flip_a_byte(write(tmp_path, 1) / "model.bin")
    assert newest_whole(tmp_path, ALONE, FACTS) is None
    for step in (2, 4, 10):
        write(tmp_path, step, keep=2)
    assert [path.name for path in committed(tmp_path)] == ["checkpoint-4", "checkpoint-10"]
    assert (tmp_path / "checkpoint-1.damaged").is_dir()
    assert not (tmp_path / "checkpoint-2").exists()


def test_commit_that_cannot_remove_an_older_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(training.checkpoint.shutil, "rmtree", denied)
    write(tmp_path, 2, keep=1)
    newest = write(tmp_path, 4, keep=1)
    assert committed(tmp_path) == [newest]


@pytest.fixture
def other_node(monkeypatch: pytest.MonkeyPatch) -> World:
    """Rank 1 of two, on a node that hears what rank 0 says when `newest_whole` was called for that one before."""
    said: list[Any] = []

    def heard(world: World, value: Any) -> list[Any]:
        if world.is_main:
            said.append(value)
        return [said[-1], value][: world.size]

    monkeypatch.setattr(training.checkpoint, "gather", heard)
    return World(1, 1, 2)


def test_newest_whole_is_rank_0_s_on_a_node_that_still_sees_another(tmp_path: Path, other_node: World) -> None:
    """Rank 0 has set checkpoint-4 aside; the other node's cache of the folder has it under its old name."""
    expected = write(tmp_path, 2)
    assert newest_whole(tmp_path, ALONE, FACTS) == expected
    write(tmp_path, 4)
    assert newest_whole(tmp_path, other_node, FACTS) == expected


def test_newest_whole_waits_for_files_that_another_node_sees_late(
    tmp_path: Path, other_node: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write(tmp_path, 2)
    newest_whole(tmp_path, ALONE, FACTS)
    hidden = (checkpoint / "model.bin").rename(tmp_path / "hidden")
    threading.Timer(0.5, lambda: hidden.rename(checkpoint / "model.bin")).start()
    started = time.monotonic()
    assert newest_whole(tmp_path, other_node, FACTS) == checkpoint
    assert time.monotonic() - started > 0.3
    (checkpoint / "model.bin").unlink()
    monkeypatch.setattr(training.checkpoint, "LATE_FILE_S", 0.1)
    with pytest.raises(UserError, match=r"model.bin is there for rank 0 and not on host"):
        newest_whole(tmp_path, other_node, FACTS)
