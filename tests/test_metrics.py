"""metrics.jsonl and samples.jsonl after a crash, cut back to the checkpoint's step; what `perf/mfu` divides by."""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from training.metrics import cut_back, training_flops


def lines(*rows: dict[str, object]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_cut_back_drops_the_steps_after_the_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines({"step": 1}, {"step": 2}, {"step": 3}))
    cut_back(path, 2)
    assert path.read_text() == lines({"step": 1}, {"step": 2})


def test_cut_back_drops_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines({"step": 1}) + '{"step": 2, "lo')
    cut_back(path, 5)
    assert path.read_text() == lines({"step": 1})


def test_cut_back_keeps_completions_with_any_line_separator(tmp_path: Path) -> None:
    """U+2028, U+2029 and U+0085 end a line for str.splitlines, but not a line of JSON."""
    path = tmp_path / "samples.jsonl"
    kept = lines({"step": 1, "completion": "a\u2028b\u2029c\u0085d\x0be\x1cf"}, {"step": 2, "completion": "after"})
    path.write_text(kept + lines({"step": 3, "completion": "gone"}), encoding="utf-8")
    cut_back(path, 2)
    assert path.read_text(encoding="utf-8") == kept


def test_cut_back_of_a_file_that_is_not_there_does_nothing(tmp_path: Path) -> None:
    cut_back(tmp_path / "absent.jsonl", 1)
    assert not (tmp_path / "absent.jsonl").exists()


def test_flops_are_of_the_device_that_trains_and_of_whole_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """ZeRO-3 leaves empty placeholders, which know how many numbers they stand for: 6 x (12 + 3) FLOP a token."""
    asked = []
    monkeypatch.setattr("training.metrics.measured_peak_flops", lambda *given: asked.append(given) or 5.0)
    model = torch.nn.Linear(4, 3)
    model.weight.data = torch.empty(0)
    model.weight.ds_numel = 12
    accelerator = SimpleNamespace(device=torch.device("cuda:0"))
    trainer = SimpleNamespace(model=model, accelerator=accelerator, args=SimpleNamespace(bf16=True))
    assert training_flops(trainer) == (90.0, 5.0)
    assert asked == [(torch.bfloat16, torch.device("cuda:0"))]
