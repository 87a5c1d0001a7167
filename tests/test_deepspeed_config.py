"""A DeepSpeed file beside the trainer: what contradicts it, what `auto` becomes, and the files we ship."""

import json
from pathlib import Path
from typing import Any

import pytest

from launch.cli import main
from tests.stage_runs import stage, write_pipeline
from training.config import load_pipeline
from training.config.deepspeed_file import auto_lines
from training.config.errors import ConfigError
from training.trainer_args import deepspeed_settings

SHIPPED = sorted((Path(__file__).parent.parent / "configs" / "deepspeed").glob("*.json"))
BASE = {
    "zero_optimization": {"stage": 2},
    "train_micro_batch_size_per_gpu": "auto",
    "gradient_accumulation_steps": "auto",
    "gradient_clipping": "auto",
    "bf16": {"enabled": "auto"},
}


def pipeline(folder: Path, content: dict[str, Any] | str, zero_stage: int = 2, **trainer: Any) -> Path:
    """A pipeline of SFT (8 rows a step, micro-batch 4, learning rate 1e-3, no bf16) with this DeepSpeed file."""
    path = folder / "ds.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    runtime = {"zero_stage": zero_stage, "deepspeed_config": str(path)}
    return write_pipeline(folder, stage("sft", folder=folder, trainer=trainer), runtime=runtime)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"zero_optimization": {"stage": 3}}, "zero_optimization.stage = 3, runtime.zero_stage is 2"),
        ({"zero_optimization": {}}, "has no zero_optimization.stage (so 0), runtime.zero_stage is 2"),
        ({"zero_optimization": {"stage": "auto"}}, 'zero_optimization.stage = "auto", which nothing fills; write 2'),
        ({"train_micro_batch_size_per_gpu": 8}, "_per_gpu = 8, runtime.micro_batch_size is 4"),
        ({"train_batch_size": 16}, "train_batch_size = 16, stages.sft.batch_size is 8"),
        ({"gradient_accumulation_steps": 1}, "gradient_accumulation_steps = 1, stages.sft.batch_size / (runtime."),
        ({"gradient_accumulation_steps": None}, 'has no gradient_accumulation_steps; write "auto", which becomes 2'),
        ({"gradient_clipping": 0.5}, "gradient_clipping = 0.5, stages.sft.trainer.max_grad_norm is 1.0"),
        ({"gradient_clipping": None}, "has no gradient_clipping (so 0.0), stages.sft.trainer.max_grad_norm is 1.0"),
        ({"bf16": {"enabled": True}}, "bf16.enabled = true, stages.sft.trainer.bf16 is false"),
        ({"fp16": {"enabled": True}}, "fp16.enabled = true, stages.sft.trainer.fp16 is false"),
        (
            {"optimizer": {"type": "AdamW", "params": {"lr": 1e-4}}},
            "optimizer.params.lr = 0.0001, stages.sft.trainer.learning_rate is 0.001",
        ),
        ({"optimizer": {"type": "Lamb", "params": {"lr": "auto"}}}, 'optimizer.type = "Lamb" would replace'),
        (
            {"scheduler": {"type": "WarmupCosineLR", "params": {"total_num_steps": "auto"}}},
            "would replace stages.sft.trainer.lr_scheduler_type linear",
        ),
        ({"wall_clock_breakdown": "auto"}, 'wall_clock_breakdown = "auto", which nothing fills'),
    ],
)
def test_deepspeed_file_that_contradicts_the_trainer_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    content = {key: value for key, value in (BASE | change).items() if value is not None}
    with pytest.raises(ConfigError) as refused:
        load_pipeline(pipeline(tmp_path, content))
    assert len(refused.value.problems) == 1
    assert message in str(refused.value)
    assert f'runtime.deepspeed_config = "{tmp_path / "ds.json"}"'[:57] in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"gradient_accumulation_steps": 2, "train_batch_size": "auto", "gradient_clipping": 1},
        {"optimizer": {"type": "AdamW", "params": {"lr": 0.001, "betas": [0.9, 0.999], "weight_decay": "auto"}}},
        {"scheduler": {"type": "WarmupDecayLR", "params": {"warmup_max_lr": "auto", "total_num_steps": "auto"}}},
        {"zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"}},
    ],
)
def test_deepspeed_file_that_agrees_is_accepted(change: dict[str, Any], tmp_path: Path) -> None:
    load_pipeline(pipeline(tmp_path, BASE | change))


def test_deepspeed_file_without_bf16_under_a_bf16_trainer_is_refused(tmp_path: Path) -> None:
    """TRL trains in bf16 unless told otherwise; DeepSpeed without the block would not."""
    content = {key: value for key, value in BASE.items() if key != "bf16"}
    with pytest.raises(ConfigError, match=r"has no bf16.enabled \(so False\), stages.sft.trainer.bf16 is true"):
        load_pipeline(pipeline(tmp_path, content, bf16=True))


@pytest.mark.parametrize(("content", "message"), [("{", "is not JSON"), ("[1]", "must hold a JSON object")])
def test_deepspeed_file_that_is_no_object_exits_2_with_one_message(
    content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = pipeline(tmp_path, content)
    assert main(["plan", str(config)]) == 2
    shown = capsys.readouterr().err
    assert message in shown
    assert "runtime.deepspeed_config" in shown
    assert len(shown.splitlines()) == 1


def test_deepspeed_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    config = pipeline(tmp_path, "{}")
    (tmp_path / "ds.json").unlink()
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        load_pipeline(config)


def test_auto_values_are_shown_as_they_will_be(tmp_path: Path) -> None:
    content = BASE | {"zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"}}
    (line,) = auto_lines(load_pipeline(pipeline(tmp_path, content, max_grad_norm=0.3)))
    assert "auto for sft: train_micro_batch_size_per_gpu 4, gradient_accumulation_steps 2, " in line
    assert "gradient_clipping 0.3, bf16.enabled false" in line
    assert "reduce_bucket_size from the model's hidden size squared" in line


def test_auto_values_of_stages_that_differ_stand_on_lines_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text(json.dumps(BASE))
    stages = [stage("sft", folder=tmp_path), stage("sft", "more", folder=tmp_path, trainer={"max_grad_norm": 0.1})]
    config = write_pipeline(tmp_path, *stages, runtime={"zero_stage": 2, "deepspeed_config": str(path)})
    assert [line.split(": ")[0].split("auto for ")[1] for line in auto_lines(load_pipeline(config))] == ["sft", "more"]


def test_shipped_files_are_all_there() -> None:
    names = ["zero1.json", "zero2-offload.json", "zero2.json", "zero3-offload.json", "zero3.json"]
    assert [path.name for path in SHIPPED] == names


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_file_agrees_and_fills_what_it_leaves_open(path: Path, tmp_path: Path) -> None:
    zero_stage = int(path.stem[4])
    config = pipeline(tmp_path, path.read_text(), zero_stage)
    assert "gradient_clipping 1.0" in auto_lines(load_pipeline(config))[0]
    if "offload" not in path.stem:
        ours = deepspeed_settings(load_pipeline(config, ["runtime.deepspeed_config=null"]).runtime)
        assert json.loads(path.read_text()) == ours
