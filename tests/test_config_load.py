"""What a valid pipeline file becomes: expansion, parents, inherited values, overrides, short forms, YAML 1.2."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.config_files import PIPELINE, changed, write
from training.config import EvaluateStage, GrpoStage, Pipeline, SftStage, load_pipeline

SHIPPED = Path(__file__).parent.parent / "configs"
CONFIGS = sorted(
    path for path in SHIPPED.rglob("*.yaml") if not {"accelerate", "deepspeed", "sweeps"} & set(path.parts)
)


def stages_of(pipeline: Pipeline) -> dict[str, object]:
    return {stage.name: stage for stage in pipeline.stages}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_is_a_pipeline(path: Path) -> None:
    assert load_pipeline(path).name == path.stem.replace("_", "-")


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_shipped_config_opens_with_its_command(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    opening = "\n".join(lines[: next(index for index, line in enumerate(lines) if not line.startswith("#"))])
    assert "Trains" in opening
    assert "Hardware" in opening
    assert "Time" in opening
    place = f"configs/{path.relative_to(SHIPPED).as_posix()}"
    assert f"posttrain run {place}" in opening or f"posttrain submit {place}" in opening


def test_evaluate_becomes_a_stage_for_the_base_and_each_model(tmp_path: Path) -> None:
    pipeline = load_pipeline(write(tmp_path))
    assert [(stage.name, stage.parent) for stage in pipeline.stages] == [
        ("evaluate-base", "base"),
        ("sft", "base"),
        ("evaluate-sft", "sft"),
        ("pairs", "sft"),
        ("dpo", "sft"),
        ("evaluate-dpo", "dpo"),
        ("grpo", "dpo"),
        ("evaluate-grpo", "grpo"),
    ]


def test_without_evaluate_no_stage_is_added(tmp_path: Path) -> None:
    text = changed("evaluate:\n  suites: [easy]\n", "").replace("    gate: {suite: easy}\n", "")
    assert [stage.name for stage in load_pipeline(write(tmp_path, text)).stages] == ["sft", "pairs", "dpo", "grpo"]


def test_from_names_another_parent_and_leaves_the_next_default_at_the_previous_model(tmp_path: Path) -> None:
    pipeline = load_pipeline(write(tmp_path, changed("kind: grpo\n", "kind: grpo\n    from: base\n")))
    assert {stage.name: stage.parent for stage in pipeline.stages}["grpo"] == "base"
    pipeline = load_pipeline(write(tmp_path, changed("kind: dpo\n", "kind: dpo\n    from: base\n")))
    assert {stage.name: stage.parent for stage in pipeline.stages}["grpo"] == "dpo"


def test_seed_and_system_come_from_the_pipeline_unless_a_stage_has_its_own(tmp_path: Path) -> None:
    text = changed("kind: dpo\n", "kind: dpo\n    seed: 3\n    system: short\n").replace(
        "name: demo\n", "name: demo\nseed: 5\nsystem: long\n"
    )
    stages = stages_of(load_pipeline(write(tmp_path, text)))
    assert [(stages[name].seed, stages[name].system) for name in ("sft", "dpo", "evaluate-base")] == [
        (5, "long"),
        (3, "short"),
        (5, "long"),
    ]


def test_evaluate_stages_carry_the_decoding_of_the_block(tmp_path: Path) -> None:
    text = changed("  suites: [easy]\n", "  suites: [easy]\n  draws: 8\n  k: [1, 4]\n  dtype: bfloat16\n")
    stage = stages_of(load_pipeline(write(tmp_path, text)))["evaluate-dpo"]
    assert isinstance(stage, EvaluateStage)
    assert (stage.suites, stage.draws, stage.k, stage.dtype) == (["easy"], 8, [1, 4], "bfloat16")


def test_rewards_accept_names_and_loose_parameters(tmp_path: Path) -> None:
    text = changed("rewards: [answer, format]", "rewards: [answer, {name: format, weight: 0.5, tags: [answer]}]")
    grpo = stages_of(load_pipeline(write(tmp_path, text)))["grpo"]
    assert isinstance(grpo, GrpoStage)
    assert [(each.name, each.weight, each.params) for each in grpo.rewards] == [
        ("answer", 1.0, {}),
        ("format", 0.5, {"tags": ["answer"]}),
    ]


def test_a_dump_uses_the_spelling_of_the_file(tmp_path: Path) -> None:
    dump = load_pipeline(write(tmp_path)).stages[0].model_dump()
    assert dump["from"] == "base"
    assert "from_" not in dump


def test_blocks_are_frozen_and_can_be_built_in_python() -> None:
    stage = SftStage(name="s", kind="sft", data={"path": "rows.jsonl"}, batch_size=8, from_="base")
    with pytest.raises(ValidationError):
        stage.batch_size = 9  # type: ignore[misc]
    assert (stage.from_, stage.data.source) == ("base", "path")


@pytest.mark.parametrize(
    ("written", "read"),
    [("1e-4", 1e-4), ("1e5", 1e5), ("3", 3), ("0.5", 0.5), (".5", 0.5), ("0x10", 16), ("010", 10)],
)
def test_numbers_are_read_as_yaml_1_2_has_them(tmp_path: Path, written: str, read: float) -> None:
    path = write(tmp_path, changed("learning_rate: 1e-4", f"learning_rate: {written}"))
    sft = stages_of(load_pipeline(path))["sft"]
    assert isinstance(sft, SftStage)
    assert sft.trainer["learning_rate"] == read


@pytest.mark.parametrize("word", ["no", "on", "off", "yes", "2026-11-01", "12:30"])
def test_words_that_yaml_1_1_would_change_stay_text(tmp_path: Path, word: str) -> None:
    assert load_pipeline(write(tmp_path, f"system: {word}\n" + PIPELINE)).system == word


def test_anchors_and_merge_keys_work_and_own_keys_win(tmp_path: Path) -> None:
    text = changed("    trainer:\n      num_generations: 8\n", "    trainer: {num_generations: 4, <<: *shared}\n")
    text = text.replace("    trainer:\n      learning_rate: 1e-4\n", "    trainer: &shared {learning_rate: 2e-4}\n")
    grpo = stages_of(load_pipeline(write(tmp_path, text)))["grpo"]
    assert isinstance(grpo, GrpoStage)
    assert grpo.trainer == {"learning_rate": 2e-4, "num_generations": 4}


def test_overrides_reach_stages_by_name_blocks_that_are_absent_and_items_by_index(tmp_path: Path) -> None:
    overrides = [
        "seed=3",
        "stages.dpo.trainer.beta=0.3",
        "stages.grpo.rewards.1={name: format, weight: 0.5}",
        "stages.sft.lora.r=8",
        "runtime.tracker=wandb",
        "evaluate.draws=2",
    ]
    pipeline = load_pipeline(write(tmp_path), overrides)
    stages = stages_of(pipeline)
    assert pipeline.seed == stages["sft"].seed == 3
    assert stages["dpo"].trainer == {"beta": 0.3}
    assert stages["grpo"].rewards[1].weight == 0.5
    assert stages["sft"].lora.r == 8
    assert pipeline.runtime.tracker == "wandb"
    assert stages["evaluate-sft"].draws == 2


def test_a_later_override_wins(tmp_path: Path) -> None:
    assert load_pipeline(write(tmp_path), ["seed=3", "seed=4"]).seed == 4


def test_a_chat_template_file_is_accepted(tmp_path: Path) -> None:
    template = tmp_path / "chat.jinja"
    template.write_text("{{ messages }}")
    pipeline = load_pipeline(write(tmp_path, f"chat_template: {template}\n" + PIPELINE))
    assert pipeline.chat_template == str(template)


def test_loading_imports_no_torch_and_is_quick(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "from training.config import load_pipeline\n"
        "best = 9.0\n"
        "for _ in range(3):\n"
        "    started = time.process_time()\n"
        f"    load_pipeline({str(write(tmp_path))!r})\n"
        "    best = min(best, time.process_time() - started)\n"
        "heavy = {'torch', 'trl', 'transformers', 'datasets', 'reasoning_gym'} & set(sys.modules)\n"
        "print(sorted(heavy), best < 0.3)\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] True"


def test_a_tilde_in_a_folder_of_the_runtime_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_pipeline(write(tmp_path), ["runtime.runs_dir=~/runs"]).runtime.runs_dir == f"{tmp_path}/runs"
