"""What makes a stage another experiment, and what does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.config_files import PIPELINE, changed, write
from training.config import load_pipeline
from training.config.identity_block import identity_block
from training.config.trainer_classes import CLASSES
from training.config.trainer_fields import CONFIG_CLASSES, fields

VALUES: dict[str, Any] = {"bool": True, "int": 3, "float": 0.25, "str": "other", "list": ["other"], "dict": {"a": 1}}


def block(folder: Path, stage: str, *overrides: str, text: str = PIPELINE) -> dict[str, Any]:
    pipeline = load_pipeline(write(folder, text), list(overrides))
    return identity_block(next(each for each in pipeline.stages if each.name == stage))


NEUTRAL = [
    ("sft", "stages.sft.trainer.dataloader_num_workers=1"),
    ("sft", "stages.sft.trainer.gradient_checkpointing=false"),
    ("sft", "stages.sft.trainer.dataloader_num_workers=2"),
    ("sft", "stages.sft.name=first"),
    ("sft", "stages.sft.seed=99"),
    ("sft", "stages.sft.gate={suite: easy}"),
    ("sft", "stages.sft.allow_template_change=true"),
    ("sft", "seed=5"),
    ("sft", "runtime.processes=1"),
    ("sft", "runtime.micro_batch_size=2"),
    ("sft", "runtime.zero_stage=2"),
    ("sft", "runtime.tracker=wandb"),
    ("sft", "runtime.checkpoint_every=5"),
    ("sft", "stages.dpo.trainer.beta=0.5"),
    ("dpo", "stages.dpo.gate.min_gain=0.1"),
    ("grpo", "stages.grpo.max_error_rate=0.5"),
    ("pairs", "stages.pairs.batch_size=8"),
    ("evaluate-sft", "evaluate.batch_size=8"),
    ("dpo", "stages.dpo.trainer={}"),
]
CHANGES = [
    ("sft", "stages.sft.trainer.learning_rate=2e-4"),
    ("sft", "stages.sft.trainer.max_steps=5"),
    ("sft", "stages.sft.trainer.bf16=true"),
    ("sft", "stages.sft.batch_size=32"),
    ("sft", "stages.sft.save_dtype=bfloat16"),
    ("sft", "stages.sft.attention=eager"),
    ("sft", "stages.sft.lora.r=8"),
    ("sft", "stages.sft.system=short"),
    ("sft", "system=short"),
    ("sft", "stages.sft.data.max_prompt_tokens=64"),
    ("sft", "stages.sft.data.limit=32"),
    ("sft", "stages.sft.data.generator.rows=65"),
    ("sft", "stages.sft.data.generator.completions=bare"),
    ("sft", "stages.sft.data.generator.families.gcd={}"),
    ("dpo", "stages.dpo.trainer.beta=0.5"),
    ("grpo", "stages.grpo.signal=[answer]"),
    ("grpo", "stages.grpo.rewards=[answer]"),
    ("grpo", "stages.grpo.rewards=[{name: answer, weight: 0.5}, format]"),
    ("grpo", "stages.grpo.trainer.generation_batch_size=32"),
    ("pairs", "stages.pairs.draws=4"),
    ("pairs", "stages.pairs.temperature=0.9"),
    ("pairs", "stages.pairs.min_margin=0.1"),
    ("pairs", "stages.pairs.dtype=bfloat16"),
    ("pairs", "stages.pairs.temperature=[0.7, 1.0]"),
    ("pairs", "stages.pairs.rows_per_prompt=2"),
    ("pairs", "stages.pairs.pass_at_least=0.5"),
    ("pairs", "stages.pairs.chosen_at_least=1.0"),
    ("evaluate-sft", "evaluate.max_completion_length=64"),
    ("evaluate-sft", "evaluate.draws=4"),
    ("evaluate-sft", "evaluate.dtype=bfloat16"),
]


@pytest.mark.parametrize(("stage", "override"), NEUTRAL)
def test_a_neutral_change_leaves_the_experiment_as_it_is(tmp_path: Path, stage: str, override: str) -> None:
    renamed = "first" if override.endswith("name=first") else stage
    assert block(tmp_path, renamed, override) == block(tmp_path, stage)


@pytest.mark.parametrize(("stage", "override"), CHANGES)
def test_a_change_of_the_experiment_changes_its_block(tmp_path: Path, stage: str, override: str) -> None:
    assert block(tmp_path, stage, override) != block(tmp_path, stage)


@pytest.mark.parametrize("kind", CONFIG_CLASSES)
def test_every_accepted_trainer_field_changes_the_block_exactly_if_it_is_identity(tmp_path: Path, kind: str) -> None:
    text = changed("    kind: dpo", f"    kind: {kind}").replace("    gate: {suite: easy}\n", "")
    if kind == "pretrain":
        (tmp_path / "rows.jsonl").write_text("{}\n")
        text = text.replace("data: stage:pairs", f"data: {{path: {tmp_path / 'rows.jsonl'}}}")
    pipeline = load_pipeline(write(tmp_path, text if kind in ("reward_model", "pretrain") else PIPELINE))
    stage = next(each for each in pipeline.stages if each.kind == kind)
    for name, info in fields(kind).items():
        if CLASSES[name] not in ("identity", "neutral"):
            continue
        value = next(value for accepted, value in VALUES.items() if accepted in info.accepted_kinds)
        others = {other: set_to for other, set_to in stage.trainer.items() if other != name}
        without = stage.model_copy(update={"trainer": others})
        with_field = stage.model_copy(update={"trainer": {**others, name: value}})
        differs = identity_block(with_field) != identity_block(without)
        assert differs == (CLASSES[name] == "identity"), name


def test_a_whole_number_and_the_same_float_are_one_experiment(tmp_path: Path) -> None:
    one = block(tmp_path, "sft", "stages.sft.trainer.max_grad_norm=1")
    assert json.dumps(one) == json.dumps(block(tmp_path, "sft", "stages.sft.trainer.max_grad_norm=1.0"))


def test_the_block_is_plain_json_without_defaults_names_or_places(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("{}\n")
    text = PIPELINE.replace(
        "generator: {name: reasoning_gym, families: {chain_sum: {}}, rows: 64, completions: worked}", f"path: {rows}"
    )
    made = block(tmp_path, "sft", text=text)
    assert json.loads(json.dumps(made, allow_nan=False)) == made
    assert made["trainer"] == {"learning_rate": 1e-4}
    assert str(tmp_path) not in json.dumps(made)
    assert not {"name", "from", "parent", "seed", "gate", "chat_template"} & set(made)


def test_the_same_data_elsewhere_is_the_same_experiment(tmp_path: Path) -> None:
    blocks = []
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text("{}\n")
        text = PIPELINE.replace("data: stage:pairs", f"data: {{path: {tmp_path / name}}}")
        blocks.append(block(tmp_path, "dpo", text=text))
    assert blocks[0] == blocks[1]
