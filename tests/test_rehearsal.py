"""What a rehearsal replaces: overrides that make a valid tiny pipeline, made-up rows, and the shrunk architecture."""

from pathlib import Path
from typing import Any

import pytest

from data.formats import to_preference, to_prompts, to_sft
from tests.config_files import PIPELINE, write
from tests.test_cluster_configs import PIPELINES, ROOT
from training.config import Pipeline, load_pipeline
from training.rehearsal import hub_blocks, shrunk_config
from training.rehearsal_overrides import Replacement, gpu_replacements, rehearsal_overrides
from training.rehearsal_rows import made_up_rows

MODEL: dict[str, Any] = {"architecture": "qwen2", "parameters": 1000, "real_tokenizer": False, "missing": []}


def replaced(pipeline: Pipeline, folder: Path, processes: int = 2) -> list[Replacement]:
    """Every replacement, with made-up rows for hub data."""
    (folder / "model").mkdir(exist_ok=True)
    data = {}
    for owner, kind, block in hub_blocks(pipeline):
        _, columns, shape = made_up_rows(kind, {str(k): v for k, v in block.columns.items()}, block.format)
        path = folder / f"{owner}.jsonl"
        path.write_text("{}\n")
        data[owner] = {"path": str(path), "hub": block.hub, "real": False, "columns": columns, "format": shape}
    stand_ins = {"model": MODEL, "data": data}
    return [*gpu_replacements(pipeline), *rehearsal_overrides(pipeline, stand_ins, folder, processes)]


def rehearsed(config: Path | str, folder: Path, processes: int = 2) -> Pipeline:
    """The pipeline that a rehearsal would run; loading it checks it."""
    overrides = [each.override for each in replaced(load_pipeline(config), folder, processes) if each.override]
    return load_pipeline(config, overrides)


@pytest.mark.parametrize("processes", [1, 2, 4])
@pytest.mark.parametrize("config", PIPELINES)
def test_rehearsal_of_every_shipped_config_is_a_valid_tiny_pipeline(
    config: str, processes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    whole, small = load_pipeline(config), rehearsed(config, tmp_path, processes)
    assert [stage.name for stage in small.stages] == [stage.name for stage in whole.stages]
    assert [stage.parent for stage in small.stages] == [stage.parent for stage in whole.stages]
    assert small.runtime.processes == min(processes, whole.runtime.processes)
    assert small.runtime.zero_stage == whole.runtime.zero_stage
    assert small.offline
    assert hub_blocks(small) == []
    for stage in small.stages:
        if stage.kind in ("sft", "dpo", "grpo"):
            assert stage.trainer["max_steps"] <= 4
            assert stage.trainer["bf16"] is False
            assert stage.batch_size <= 4 * processes


DEMANDING = """\
name: demanding
model: Qwen/Qwen3-8B@b968826d9c46dd6066d109eabc6255188de91218
stages:
  - name: sft
    kind: sft
    batch_size: 64
    attention: flash_attention_2
    lora: {r: 256, quantize: nf4}
    data: {hub: some/data@main, split: train_sft, subset: all, columns: {prompt: question, completion: reply}}
    trainer: {packing: true, max_length: 8192, tf32: true, optim: paged_adamw_8bit, num_train_epochs: 3}
  - name: best
    kind: sample
    keep: best
    draws: 16
    data: {hub: some/prompts@main, limit: 10000, max_prompt_tokens: 1024}
    rewards: [answer]
  - name: grpo
    kind: grpo
    batch_size: 512
    data: {hub: some/prompts@main}
    rewards: [answer, {name: length, max_length: 512, buffer: 64}]
    signal: [answer]
    trainer: {num_generations: 16, generation_batch_size: 2048, max_completion_length: 4096, fp16: true}
runtime:
  processes: 64
  nodes: 8
  micro_batch_size: 1
  zero_stage: 3
  threads_per_process: 8
  tracker: wandb
  tracker_mode: online
  slurm: {time: "24:00:00", modules: [cuda/12], setup: ["source /shared/env/bin/activate"]}
"""


def test_rehearsal_replaces_what_needs_a_gpu_a_hub_or_a_cluster_and_says_so(tmp_path: Path) -> None:
    config = write(tmp_path, DEMANDING)
    small = rehearsed(config, tmp_path)
    sft, best, grpo = small.stages
    assert (sft.attention, sft.lora.quantize, sft.trainer["optim"]) == (None, None, "adamw_torch")
    assert sft.lora.r == 8  # above 64, the tiny model's width, it would be refused
    assert sft.trainer["packing"] is True
    assert sft.data.columns == {"prompt": "question", "completion": "reply"}
    assert (best.draws, best.keep) == (4, "best")
    assert [spec.name for spec in best.rewards] == ["answer", "length"]
    assert best.rewards[1].weight < 0  # so that a longer completion of a random model earns more than 0
    assert (grpo.batch_size, grpo.trainer["num_generations"], grpo.trainer["generation_batch_size"]) == (4, 4, 8)
    assert (grpo.trainer["fp16"], grpo.signal) == (False, [])
    runtime = small.runtime
    assert (runtime.processes, runtime.nodes, runtime.zero_stage, runtime.tracker_mode) == (2, 2, 3, "offline")
    assert runtime.slurm is not None
    assert (runtime.slurm.time, runtime.slurm.modules, runtime.slurm.setup) == ("24:00:00", [], [])
    words = " | ".join(each.words for each in replaced(load_pipeline(config), tmp_path) if each.words)
    for said in (
        "nf4",
        "lora.r 256",
        "flash attention",
        "paged_adamw_8bit",
        "tf32",
        "64 ranks",
        "8 nodes",
        "wandb: offline",
    ):
        assert said in words, said
    for said in ("content of hub data some/data@main", "runtime.slurm.modules", "runtime.slurm.setup"):
        assert f"not rehearsed: {said}" in words or f"not rehearsed: the {said}" in words, said


def test_rehearsal_without_a_compiler_runs_plain_ranks_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.rehearsal_overrides.shutil.which", lambda program: None)
    config = write(tmp_path, PIPELINE.replace("  processes: 2\n", "  processes: 2\n  zero_stage: 2\n"))
    assert rehearsed(config, tmp_path).runtime.zero_stage == 0
    words = [each.words for each in replaced(load_pipeline(config), tmp_path) if each.words]
    assert any(text.startswith("not rehearsed: ZeRO-2") for text in words)


@pytest.mark.parametrize(
    ("columns", "declared"),
    [
        ({}, None),
        ({"prompt": "question", "completion": "reply"}, None),
        ({"messages": "turns"}, None),
        ({}, "alpaca"),
        ({"output": "text"}, "alpaca"),
        ({}, "sharegpt"),
        ({"options": "choices"}, None),
    ],
)
def test_made_up_rows_are_what_sft_trains_on(columns: dict[str, str], declared: str | None) -> None:
    rows, kept, shape = made_up_rows("sft", columns, declared)
    assert shape == declared
    assert kept == ({} if "options" in columns else columns)
    ours = {theirs: name for name, theirs in kept.items()}
    made = to_sft([{ours.get(name, name): value for name, value in row.items()} for row in rows])
    assert len(made) == len(rows)
    assert len({str(row["prompt"]) for row in made}) == len(rows)


@pytest.mark.parametrize("columns", [{}, {"chosen": "good", "rejected": "bad"}, {"prompt": "q", "chosen": "good"}])
def test_made_up_rows_are_pairs(columns: dict[str, str]) -> None:
    rows, kept, _ = made_up_rows("dpo", columns)
    ours = {theirs: name for name, theirs in kept.items()}
    made = to_preference([{ours.get(name, name): value for name, value in row.items()} for row in rows])
    assert all(row["chosen"] != row["rejected"] for row in made)


def test_made_up_rows_of_suites_and_stages_ask_different_questions() -> None:
    stage, suite = (to_prompts(made_up_rows(kind, {})[0]) for kind in ("grpo", "suite"))
    assert all(row["answer"] for row in [*stage, *suite])
    assert not {str(row["prompt"]) for row in stage} & {str(row["prompt"]) for row in suite}


def test_shrunk_config_keeps_the_architecture_and_both_kinds_of_layers() -> None:
    config = {
        "model_type": "deepseek_v3",
        **{"hidden_size": 7168, "num_hidden_layers": 61, "num_attention_heads": 128, "num_key_value_heads": 128},
        **{"n_routed_experts": 256, "num_experts_per_tok": 8, "first_k_dense_replace": 3, "q_lora_rank": None},
        **{"kv_lora_rank": 512, "qk_rope_head_dim": 64, "n_group": 8, "topk_group": 4, "quantization_config": {}},
        "layer_types": ["sliding_attention"] * 5 + ["full_attention"] * 56,
        "rope_scaling": {"rope_type": "longrope", "short_factor": [1.0] * 48, "factor": 40},
        "rms_norm_eps": 1e-6,
    }
    small = shrunk_config(config)
    assert (small["num_hidden_layers"], small["hidden_size"], small["n_routed_experts"]) == (2, 64, 4)
    assert small["layer_types"] == ["sliding_attention", "full_attention"]
    assert small["num_key_value_heads"] == small["num_attention_heads"]
    assert small["q_lora_rank"] is None  # this model has no such compression, nor has the small one
    assert small["head_dim"] == small["qk_rope_head_dim"]
    assert len(small["rope_scaling"]["short_factor"]) == 8
    assert small["rms_norm_eps"] == 1e-6
    assert "quantization_config" not in small
    assert shrunk_config({"num_attention_heads": 32, "num_key_value_heads": 8})["num_key_value_heads"] == 2
    assert shrunk_config({"num_attention_heads": 16, "num_key_value_heads": 1})["num_key_value_heads"] == 1


def test_rehearsal_only_warns_where_a_detector_would_end_it_and_probes_a_few_questions(tmp_path: Path) -> None:
    """A random model is cut off in every completion; `not_finite` is no model's excuse and keeps its policy."""
    watched = PIPELINE.replace(
        "    trainer:\n      num_generations: 8",
        "    health: {truncation: {policy: stop, window: 1}, duplicates: off, not_finite: rollback}\n"
        "    probe: {suites: [easy], every: 50, keep_best: easy, patience: 2}\n"
        "    trainer:\n      num_generations: 8",
    )
    grpo = next(stage for stage in rehearsed(write(tmp_path, watched), tmp_path).stages if stage.kind == "grpo")
    policies = {name: block.policy for name, block in grpo.health.detectors.items()}
    assert (policies["truncation"], policies["not_finite"]) == ("warn", "rollback")
    assert "duplicates" not in policies
    assert (grpo.probe.every, grpo.probe.items, grpo.probe.patience, grpo.probe.keep_best) == (1, 4, None, "easy")


@pytest.mark.parametrize("suites", [False, True])
def test_benchmarks_alone_are_replaced_by_a_suite(tmp_path: Path, suites: bool) -> None:
    own = "suites:\n  sums: {items: 9, data: {generator: {name: reasoning_gym, families: {chain_sum: {}}}}}\n"
    config = write(
        tmp_path,
        "name: boards\nmodel: bundled:tiny-random\n"
        + (own if suites else "")
        + "benchmarks: {code: {human_eval: {}}}\nevaluate: {benchmarks: [code]}\n"
        + "stages:\n  - {name: again, kind: evaluate, from: base, benchmarks: [code]}\n",
    )
    small = rehearsed(config, tmp_path)
    (stage,) = (stage for stage in small.stages if stage.name == "again")
    assert stage.kind == "evaluate"
    assert (stage.suites, stage.benchmarks) == (["sums" if suites else "rehearsed"], [])
    assert small.evaluate is not None
    assert small.evaluate.suites == stage.suites
