"""Both sides of the comparison with TRL start, take turns and are measured; a side that dies is told at once."""

import sys
from pathlib import Path

import pytest

from benchmarks.against_trl import __main__ as against_trl
from benchmarks.against_trl import cases
from benchmarks.against_trl.turns import Conductor


@pytest.mark.slow
def test_both_sides_of_a_grpo_step_are_measured_on_the_tiny_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "MODEL", "bundled:tiny-random")
    tiny = cases.Case("tiny", "grpo", 8, 4, 8, "always", draws=4)
    found = against_trl.compare(tiny, "equal", None, pairs=2)
    assert len(found["pairs"]) == 2
    for pair in found["pairs"]:
        for side in ("ours", "equal"):
            assert 0 < pair[side]["generate_s"] < pair[side]["seconds"]
            assert pair[side]["rows"] == 8
    assert set(found["peak_memory_gb"]) == {"ours", "equal"}


def test_a_side_that_dies_before_its_first_step_is_told_and_ended(tmp_path: Path) -> None:
    conductor = Conductor(tmp_path)
    dies, lives = [sys.executable, "-c", "raise SystemExit(3)"], {"PATH": "/usr/bin"}
    with pytest.raises(RuntimeError, match=r"ours: no step came; exit codes \[3"):
        conductor.start("ours", dies, [lives])
    assert conductor.sides == []


def test_only_rows_that_no_trainer_cuts_are_compared() -> None:
    def row(words: int) -> dict[str, list[dict[str, str]]]:
        turn = {"role": "assistant", "content": " word" * words}
        return {
            "prompt": [{"role": "user", "content": "Why?"}],
            "chosen": [turn],
            "rejected": [{**turn, "content": "No."}],
        }

    short, long = row(20), row(90)
    assert list(cases.whole_rows([short, long], 80)) == [short]
    assert list(cases.whole_rows([short, long], 160)) == [short, long]
