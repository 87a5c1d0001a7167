"""What has its final name is complete, whenever the process that wrote it died."""

from pathlib import Path

import pytest

from training.metrics import cut_back
from training.rank_state import read_rank_state, read_rank_states
from training.whole_folder import whole_folder


def test_whole_folder_is_there_when_its_block_ends_well(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as folder:
        folder.mkdir()
        (folder / "weights").write_text("1")
        assert not (tmp_path / "model").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "1"


def test_whole_folder_is_not_there_when_its_block_raises_and_the_next_attempt_starts_clean(tmp_path: Path) -> None:
    def dies() -> None:
        with whole_folder(tmp_path / "model") as folder:
            folder.mkdir()
            (folder / "config.json").write_text("{}")
            raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        dies()
    assert not (tmp_path / "model").exists()
    with whole_folder(tmp_path / "model") as folder:
        folder.mkdir()
    assert list((tmp_path / "model").iterdir()) == []


@pytest.mark.parametrize("left", [b"", b"\0\0\0\0", b'{"phase": "tr', b"17"])
def test_rank_state_that_a_power_cut_tore_counts_as_none(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "ranks").mkdir()
    (tmp_path / "ranks" / "0.json").write_bytes(left)
    (tmp_path / "ranks" / "1.json").write_bytes(b'{"pid": 1}')
    assert read_rank_state(tmp_path, 0) is None
    assert read_rank_states(tmp_path) == [{"pid": 1}]


@pytest.mark.parametrize("tail", [b"", b'{"step": 3, "te', b"\0" * 40, '{"step": 3, "text": "é'.encode()[:-1]])
def test_cut_back_drops_later_steps_and_whatever_a_crash_left_of_the_last_line(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "samples.jsonl"
    rows = [b'{"step": 1, "text": "a\xe2\x80\xa8b"}\n', b'{"step": 2}\n', b'{"step": 3}\n']
    path.write_bytes(b"".join(rows) + tail)
    cut_back(path, 2)
    assert path.read_bytes() == b"".join(rows[:2])
