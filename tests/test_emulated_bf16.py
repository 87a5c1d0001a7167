"""A CPU without bf16 arithmetic is known, and told before minutes pass."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from launch.cli import main
from training import decode, train
from training.emulated_bf16 import emulated_words, emulates_bf16


@pytest.mark.parametrize(
    ("cpuinfo", "emulates"),
    [
        ("model name\t: EPYC\nflags\t\t: fpu avx2 fma\n", True),
        ("flags\t\t: avx512f avx512_bf16\n", False),
        ("flags\t\t: avx512f amx_bf16 amx_tile\n", False),
        ("Features\t: fp asimd bf16\n", False),
        ("Features\t: fp asimd\n", True),
        ("", False),
    ],
)
def test_flags_of_cpus(cpuinfo: str, emulates: bool, tmp_path: Path) -> None:
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    assert emulates_bf16(tmp_path / "cpuinfo") is emulates


def test_without_flags_nothing_is_said(tmp_path: Path) -> None:
    assert not emulates_bf16(tmp_path / "nowhere")


@pytest.mark.parametrize("bf16", [True, False])
def test_plan_names_the_stages_that_would_crawl(
    bf16: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.plan_footing.emulates_bf16", lambda: True)
    switched = f"stages.sft.trainer.bf16={str(bf16).lower()}"
    assert main(["plan", "configs/tiny.yaml", switched, f"runtime.runs_dir={tmp_path}"]) == 0
    assert (f"- sft: {emulated_words(trains=True)}" in capsys.readouterr().out) is bf16


def test_plan_names_the_key_of_stages_that_only_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("launch.plan_footing.emulates_bf16", lambda: True)
    assert main(["plan", "configs/tiny.yaml", "evaluate.dtype=bfloat16", f"runtime.runs_dir={tmp_path}"]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "dtype: float32 draws in float32" in line]
    assert "eval" in line
    assert "sft:" not in line


@pytest.mark.parametrize(("device", "said"), [("cpu", True), ("cuda", False)])
def test_training_says_it_before_the_first_step(device: str, said: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train, "emulates_bf16", lambda: True)
    monkeypatch.setattr(train, "in_words", lambda *_: [])
    lines: list[str] = []
    context: Any = SimpleNamespace(
        stage=SimpleNamespace(kind="sft", batch_size=8),
        world=SimpleNamespace(size=1),
        pipeline=SimpleNamespace(runtime=SimpleNamespace(fast_paths=True)),
        say=lines.append,
    )
    trainer = SimpleNamespace(args=SimpleNamespace(bf16=True, device=SimpleNamespace(type=device)))
    train.announce(context, trainer, {"rows_kept": 8})
    assert (emulated_words(trains=True) in lines) is said


@pytest.mark.parametrize(("dtype", "said"), [("bfloat16", True), ("float32", False)])
def test_drawing_says_it_before_the_first_answer(dtype: str, said: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(decode, "emulates_bf16", lambda: True)
    monkeypatch.setattr(decode, "load_tokenizer", lambda *_: None)
    monkeypatch.setattr(decode, "load_policy", lambda *_: torch.nn.Linear(1, 1))
    lines: list[str] = []
    context: Any = SimpleNamespace(
        stage=SimpleNamespace(name="pairs"),
        parent_model=None,
        chat_template=None,
        state=SimpleNamespace(update=lambda **_: None),
        say=lines.append,
    )
    decode.open_decoder(context, dtype, 4)
    assert (lines == [emulated_words(trains=False)]) is said
