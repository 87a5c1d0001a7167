"""A small valid pipeline file for the config tests, and a way to change one place of it."""

from __future__ import annotations

from pathlib import Path

PIPELINE = """\
name: demo
model: bundled:tiny-random
suites:
  easy:
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}}}
evaluate:
  suites: [easy]
stages:
  - name: sft
    kind: sft
    batch_size: 16
    data:
      generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 64, completions: worked}
    trainer:
      learning_rate: 1e-4
  - name: pairs
    kind: sample
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 16}}
    rewards: [answer]
  - name: dpo
    kind: dpo
    batch_size: 8
    data: stage:pairs
    gate: {suite: easy}
  - name: grpo
    kind: grpo
    batch_size: 16
    data: {generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 16}}
    rewards: [answer, format]
    trainer:
      num_generations: 8
runtime:
  processes: 2
  micro_batch_size: 4
"""

GENERATOR = "generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 64, completions: worked}"
DPO_STAGE = "  - name: dpo\n    kind: dpo\n    batch_size: 8\n    data: stage:pairs\n    gate: {suite: easy}\n"
"""Two places of it that several mistakes stand in."""


def write(folder: Path, text: str = PIPELINE) -> Path:
    """Write a pipeline file."""
    path = folder / "demo.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def changed(old: str, new: str) -> str:
    """Return the pipeline with one place replaced; the place must be there exactly once."""
    assert PIPELINE.count(old) == 1, old
    return PIPELINE.replace(old, new)
