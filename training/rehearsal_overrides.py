"""From a pipeline to its rehearsal: overrides that make it tiny, and in words what each of them replaces.

A rehearsal runs the same YAML with these overrides, so everything they do not touch is the real thing: stages, parents,
losses, rewards, templates, ranks' launcher, ZeRO stage. Nothing here imports torch.
"""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from training.config import (
    TRAINING_KINDS,
    EvaluateStage,
    ExportStage,
    GrpoStage,
    LikelihoodStage,
    ModelStage,
    Pipeline,
    Runtime,
    SampleStage,
    SurgeryStage,
    TrainingStage,
    UpcycleStage,
    UpscaleStage,
)
from training.config.scorers import stage_named
from training.config.slurm import Slurm
from training.config.trainer_fields import default
from training.rehearsal_rows import ROWS as ROWS_MADE_UP
from training.rehearsal_watch import watching_overrides

STEPS = 2
STEPS_OF_THE_FIRST = 4
"""USR1 travels from the runner to the ranks for some tenths of a second: the first training stage must still run."""
ROWS = 16
FILE_ROWS = 48
ITEMS = 4
DRAWS = 4
COMPLETION_TOKENS = 16
LORA_RANK = 8
LONGEST = 1024
"""Longest sequence, in tokens, with the real tokenizer."""
SUMS = {"generator": {"name": "reasoning_gym", "families": {"chain_sum": {}}}}
BYTES_PER_TOKEN = 4
LONGEST_IN_BYTES = 4096
PACKED_LENGTH = 128
LENGTH_REWARD = {"name": "length", "weight": -0.1, "max_length": 96, "buffer": 96, "unit": "characters"}
"""Above zero and different for the completions of a random model: there is something to learn and to keep."""
_GPU_OPTIMIZERS = ("bnb", "8bit", "paged", "apex", "torchao")
_GPU_SWITCHES = ("bf16", "fp16", "tf32", "torch_compile", "use_liger_kernel", "activation_offloading")


@dataclass(frozen=True)
class Replacement:
    """One override; `words` say what a reader must know about it, None where it only makes things smaller."""

    owner: str
    override: str
    words: str | None = None


def rehearsal_overrides(
    pipeline: Pipeline, stand_ins: dict[str, Any], stand_ins_dir: Path, processes: int
) -> list[Replacement]:
    """Return the overrides of a rehearsal with at most `processes` ranks; `stand_ins` is stand_ins.json's content."""
    replaced = [*_top(pipeline, stand_ins, stand_ins_dir), *_runtime(pipeline, processes)]
    for name, suite in pipeline.suites.items():
        replaced.append(_set(name, f"suites.{name}.items", min(ITEMS, suite.items)))
    ranks = min(processes, pipeline.runtime.processes)
    for stage in _written(pipeline):
        at = f"stages.{stage.name}"
        if isinstance(stage, EvaluateStage):
            replaced += _decoding(stage.name, at, stage, pipeline)
        elif isinstance(stage, SampleStage):
            replaced += _sample(stage, at, stand_ins_dir)
        elif isinstance(stage, SurgeryStage):
            replaced += _surgery(stage, at)
        elif isinstance(stage, ExportStage):
            replaced += _export(stage, at, stand_ins["model"]["real_tokenizer"])
        else:
            replaced += _training(stage, at, ranks, pipeline, stand_ins["model"]["real_tokenizer"])
        gate = getattr(stage, "gate", None)
        if gate is not None and gate.suite.partition("/")[0] in pipeline.benchmarks:
            replaced.append(_set(stage.name, f"{at}.gate", None, f"not rehearsed: the gate on {gate.suite}"))
        replaced += _data(stage.name, f"{at}.data", getattr(stage, "data", None), stand_ins)
    for name, suite in pipeline.suites.items():
        replaced += _data(name, f"suites.{name}.data", suite.data, stand_ins)
    return replaced


def gpu_replacements(pipeline: Pipeline) -> list[Replacement]:
    """Return the overrides without which the pipeline cannot be checked on a machine without a GPU."""
    replaced = []
    for stage in _written(pipeline):
        if not isinstance(stage, TrainingStage):
            continue
        at = f"stages.{stage.name}"
        trainer = stage.trainer
        if isinstance(stage, GrpoStage) and stage.rollout == "vllm":
            heeded = {name: value for name, value in trainer.items() if not name.startswith("vllm_")}
            replaced.append(_set(stage.name, f"{at}.trainer", heeded))
            replaced.append(_set(stage.name, f"{at}.rollout", "transformers", "vLLM: posttrain's own sampler"))
        wanted = [name for name in _GPU_SWITCHES if trainer.get(name)]
        if wanted:
            replaced += [_set(stage.name, f"{at}.trainer.{name}", False) for name in wanted]
            replaced.append(Replacement(stage.name, "", f"{', '.join(wanted)}: float32 without them on this CPU"))
        if trainer.get("bf16") is None and not trainer.get("fp16"):
            replaced.append(_set(stage.name, f"{at}.trainer.bf16", False, "bf16 (TRL's default): float32 on this CPU"))
        if any(word in str(trainer.get("optim", "")) for word in _GPU_OPTIMIZERS):
            words = f"optim {trainer['optim']}: adamw_torch on this CPU"
            replaced.append(_set(stage.name, f"{at}.trainer.optim", "adamw_torch", words))
        if stage.attention == "flash_attention_2":
            replaced.append(_set(stage.name, f"{at}.attention", None, "flash attention: transformers' choice"))
        if stage.lora is not None and stage.lora.quantize is not None:
            words = f"QLoRA's {stage.lora.quantize}: the frozen weights are whole"
            replaced.append(_set(stage.name, f"{at}.lora.quantize", None, words))
    if pipeline.runtime.vllm is not None:
        replaced.append(_set("runtime", "runtime.vllm", None))
    return replaced


def _set(owner: str, key: str, value: Any, words: str | None = None) -> Replacement:
    return Replacement(owner, f"{key}={json.dumps(value, ensure_ascii=False)}", words)


def _written(pipeline: Pipeline) -> Iterator[Any]:
    """The stages that stand in the YAML: not those that the `evaluate:` block makes, which follow the block."""
    for stage in pipeline.stages:
        made = pipeline.evaluate is not None and stage.name == f"evaluate-{stage.parent}"
        if not (made and isinstance(stage, EvaluateStage)):
            yield stage


def _top(pipeline: Pipeline, stand_ins: dict[str, Any], folder: Path) -> Iterator[Replacement]:
    model = stand_ins["model"]
    words = f"{pipeline.model}: {model['architecture']} with {model['parameters']:,} random weights"
    yield _set("base", "model", str(folder / "model"), words)
    yield _set("base", "offline", True)
    for missing in model["missing"]:
        yield Replacement("base", "", f"not rehearsed: {missing}")
    if pipeline.evaluate is not None:
        yield from _decoding("evaluate", "evaluate", pipeline.evaluate, pipeline)


def _runtime(pipeline: Pipeline, processes: int) -> Iterator[Replacement]:
    runtime = pipeline.runtime
    ranks = min(processes, runtime.processes)
    if ranks < runtime.processes:
        yield _set("runtime", "runtime.processes", ranks, f"{runtime.processes} ranks: {ranks} on this machine")
    nodes = 1 if runtime.slurm is None else max(n for n in range(1, runtime.nodes + 1) if ranks % n == 0)
    if nodes < runtime.nodes:
        yield _set("runtime", "runtime.nodes", nodes)
    if runtime.nodes > 1:
        places = "one host" if nodes == 1 else f"{nodes} pretended ones on this host, one rank step each"
        yield Replacement("runtime", "", f"{runtime.nodes} nodes: {places}")
    if runtime.slurm is not None:
        yield from _slurm(runtime.slurm)
    yield _set("runtime", "runtime.micro_batch_size", _micro(runtime))
    yield _set("runtime", "runtime.checkpoint_every", 1)
    yield _set("runtime", "runtime.threads_per_process", 1)  # a tiny model gains nothing from more
    if runtime.profile is not None:
        yield _set("runtime", "runtime.profile", None, "nothing is profiled")
    if runtime.tracker == "wandb":
        yield _set("runtime", "runtime.tracker_mode", "offline", f"{runtime.tracker}: offline, nothing is sent")
    if runtime.zero_stage > 0 and shutil.which("c++") is None:
        words = f"not rehearsed: ZeRO-{runtime.zero_stage} (DeepSpeed on a CPU needs a C++ compiler): plain ranks"
        yield _set("runtime", "runtime.zero_stage", 0, words)
        yield _set("runtime", "runtime.deepspeed_config", None)


def _micro(runtime: Runtime) -> int:
    """The same small micro-batch for every kind of stage."""
    return min(2, *(runtime.micro_batch(kind) for kind in TRAINING_KINDS))


def _slurm(slurm: Slurm) -> Iterator[Replacement]:
    """The cluster's own software is not here: the batch scripts leave out what would call it."""
    yield Replacement("runtime", "", "Slurm: local stand-ins for its commands run the real batch scripts")
    for key, empty in (("modules", []), ("setup", []), ("environment_file", None), ("container", None)):
        if getattr(slurm, key) not in (empty, None):
            yield _set("runtime", f"runtime.slurm.{key}", empty, f"not rehearsed: runtime.slurm.{key}")


def _training(
    stage: TrainingStage, at: str, ranks: int, pipeline: Pipeline, real_tokenizer: bool
) -> Iterator[Replacement]:
    trainer, runtime = stage.trainer, pipeline.runtime
    micro = _micro(runtime)
    accumulation = min(2, stage.batch_size // (runtime.micro_batch(stage.kind) * runtime.processes))
    batch = ranks * micro * max(1, accumulation)
    if isinstance(stage, GrpoStage):
        batch = max(2, batch)
        yield from _groups(stage, at, batch)
    yield _set(stage.name, f"{at}.batch_size", batch)
    for key, value, words in watching_overrides(stage):
        yield _set(stage.name, f"{at}.{key}", value, words)
    first = next(each.name for each in pipeline.stages if isinstance(each, ModelStage))
    yield _set(stage.name, f"{at}.trainer.max_steps", STEPS_OF_THE_FIRST if stage.name == first else STEPS)
    length = trainer.get("max_length")
    if isinstance(stage, LikelihoodStage) and trainer.get("packing"):
        yield _set(stage.name, f"{at}.trainer.max_length", PACKED_LENGTH)
    elif length is not None:
        longest = min(LONGEST, length) if real_tokenizer else min(LONGEST_IN_BYTES, BYTES_PER_TOKEN * length)
        yield _set(stage.name, f"{at}.trainer.max_length", longest)
    elif stage.kind != "grpo" and not real_tokenizer:
        yield _set(stage.name, f"{at}.trainer.max_length", LONGEST_IN_BYTES)
    if stage.lora is not None and stage.lora.r > LORA_RANK:  # the tiny model's matrices have no higher rank
        yield _set(stage.name, f"{at}.lora.r", LORA_RANK, f"lora.r {stage.lora.r}: {LORA_RANK}")
    if trainer.get("dataset_num_proc"):
        yield _set(stage.name, f"{at}.trainer.dataset_num_proc", None)
    if not real_tokenizer and stage.data.max_prompt_tokens is not None:
        yield _set(stage.name, f"{at}.data.max_prompt_tokens", LONGEST_IN_BYTES)


def _export(stage: ExportStage, at: str, real_tokenizer: bool) -> Iterator[Replacement]:
    if stage.gguf and not real_tokenizer:
        yield _set(stage.name, f"{at}.gguf", [], "not rehearsed: gguf (the stand-in's tokenizer has no merges)")


def _surgery(stage: SurgeryStage, at: str) -> Iterator[Replacement]:
    """The tiny model has two layers: one is dropped of each copy, and one stays dense where any does."""
    if isinstance(stage, UpscaleStage):
        yield _set(stage.name, f"{at}.drop_layers", 1, f"drop_layers {stage.drop_layers}: 1 of the tiny model's two")
    if isinstance(stage, UpcycleStage):
        experts = min(4, stage.experts)
        yield _set(stage.name, f"{at}.experts", experts)
        yield _set(stage.name, f"{at}.experts_per_token", min(experts - 1, stage.experts_per_token))
        yield _set(stage.name, f"{at}.shared_experts", 1)
        yield _set(stage.name, f"{at}.dense_layers", min(1, stage.dense_layers))


def _groups(stage: GrpoStage, at: str, batch: int) -> Iterator[Replacement]:
    """A group of at most four completions, a round of at most two steps, and a reward in which they differ."""
    group = min(4, int(stage.trainer.get("num_generations", default("grpo", "num_generations"))), batch)
    group = next(size for size in range(group, 1, -1) if batch % size == 0)
    yield _set(stage.name, f"{at}.trainer.num_generations", group)
    round_size = stage.trainer.get("generation_batch_size")
    if round_size is not None:
        steps = min(2, round_size // stage.batch_size)
        yield _set(stage.name, f"{at}.trainer.generation_batch_size", batch * steps)
    length = int(stage.trainer.get("max_completion_length", COMPLETION_TOKENS))
    yield _set(stage.name, f"{at}.trainer.max_completion_length", min(COMPLETION_TOKENS, length))
    yield _set(stage.name, f"{at}.signal", [])
    yield from _reward_model(stage, at)
    yield from _judge(stage, at)
    yield from _length_reward(stage, at)


def _length_reward(stage: GrpoStage | SampleStage, at: str) -> Iterator[Replacement]:
    rewards = [spec.model_dump(mode="json") for spec in stage.rewards if spec.name != LENGTH_REWARD["name"]]
    words = "the reward length (longer is better) is added: a random model earns nothing else"
    yield _set(stage.name, f"{at}.rewards", [*rewards, LENGTH_REWARD], words)


def _reward_model(stage: GrpoStage | SampleStage, at: str) -> Iterator[Replacement]:
    """One of the pipeline's own scores as it is; one from elsewhere is not here."""
    if stage.reward_model is not None and stage_named(stage.reward_model.model) is None:
        words = f"not rehearsed: scores of {stage.reward_model.model}"
        yield _set(stage.name, f"{at}.reward_model", None, words)


def _judge(stage: GrpoStage | SampleStage, at: str) -> Iterator[Replacement]:
    """A rehearsal asks no service."""
    if stage.judge is not None:
        yield _set(stage.name, f"{at}.judge", None, f"not rehearsed: the judge {stage.judge.callable}")


def _sample(stage: SampleStage, at: str, stand_ins_dir: Path) -> Iterator[Replacement]:
    if stage.model is not None:
        words = f"the teacher {stage.model}: the same random weights"
        yield _set(stage.name, f"{at}.model", str(stand_ins_dir / "model"), words)
    yield from _reward_model(stage, at)
    yield from _judge(stage, at)
    if isinstance(stage.temperature, list):
        yield _set(stage.name, f"{at}.temperature", stage.temperature[: min(DRAWS, stage.draws)])
    yield _set(stage.name, f"{at}.draws", min(DRAWS, stage.draws))
    yield _set(stage.name, f"{at}.max_completion_length", min(COMPLETION_TOKENS, stage.max_completion_length))
    if stage.keep == "pairs":
        yield _set(stage.name, f"{at}.min_margin", 0.0, "min_margin 0: a random model answers nothing right")
    for threshold in ("chosen_at_least", "rejected_at_most"):
        if getattr(stage, threshold) is not None:
            yield _set(stage.name, f"{at}.{threshold}", None)
    if stage.rows_per_prompt > 1:
        yield _set(stage.name, f"{at}.rows_per_prompt", 1)
    yield from _length_reward(stage, at)


def _decoding(owner: str, at: str, block: Any, pipeline: Pipeline) -> Iterator[Replacement]:
    yield _set(owner, f"{at}.max_completion_length", min(COMPLETION_TOKENS, block.max_completion_length))
    if block.draws:
        draws = min(DRAWS, block.draws)
        yield _set(owner, f"{at}.draws", draws)
        yield _set(owner, f"{at}.k", [k for k in block.k if k <= draws])
    if block.benchmarks:
        words = f"not rehearsed: benchmarks {', '.join(block.benchmarks)} (a random model says nothing on them)"
        yield _set(owner, f"{at}.benchmarks", [], words)
        if not block.suites:
            yield from _a_suite(owner, at, pipeline)
    if block.generalisation is not None:
        yield _set(owner, f"{at}.generalisation.items", min(ITEMS, block.generalisation.items))


def _a_suite(owner: str, at: str, pipeline: Pipeline) -> Iterator[Replacement]:
    """Something to measure where benchmarks were all there was: a suite of the pipeline, else sums."""
    if not pipeline.suites:
        yield _set(owner, "suites", {"rehearsed": {"items": ITEMS, "data": SUMS}})
    name = next(iter(pipeline.suites), "rehearsed")
    yield _set(owner, f"{at}.suites", [name], f"the suite {name} stands in for benchmarks")


def _data(owner: str, at: str, block: Any, stand_ins: dict[str, Any]) -> Iterator[Replacement]:
    """What stands in for the rows of the block at the key path `at`, each source of a mixture for itself."""
    if block is None:
        return
    if block.difficulty is not None:
        yield _set(owner, f"{at}.difficulty", None, "not rehearsed: data.difficulty (nothing is passed)")
    if block.mix is None:
        yield from _source(owner, owner, at, block, stand_ins)
        return
    for number, part in enumerate(block.mix):
        yield from _source(owner, f"{owner}.mix.{number}", f"{at}.mix.{number}", part, stand_ins)
        if part.rows is not None:
            yield _set(owner, f"{at}.mix.{number}.rows", min(ROWS, part.rows))
    if block.mix_rows is not None:
        yield _set(owner, f"{at}.mix_rows", min(FILE_ROWS, block.mix_rows))


def _source(owner: str, place: str, at: str, block: Any, stand_ins: dict[str, Any]) -> Iterator[Replacement]:
    """One source; `place` is its name among the stand-ins."""
    if block.stage is not None:
        return
    is_suite = at.startswith("suites.")
    stand_in = stand_ins["data"].get(place)
    if stand_in is not None:
        said = f"{stand_in['hub']}: the first rows that the local cache holds"
        if not stand_in["real"]:
            said = f"not rehearsed: the content of hub data {stand_in['hub']}: {ROWS_MADE_UP} made-up rows stand in"
        yield _set(owner, f"{at}.path", stand_in["path"], said)
        yield _set(owner, f"{at}.hub", None)
        for key, value in (("split", "train"), ("subset", None), ("streaming", False)):
            yield _set(owner, f"{at}.{key}", value)
        if stand_in["columns"] is not None:
            yield _set(owner, f"{at}.columns", stand_in["columns"])
        if stand_in["format"] is None:
            yield _set(owner, f"{at}.format", None)
    if not is_suite and block.generator is not None and block.generator.rows is not None:
        yield _set(owner, f"{at}.generator.rows", min(ROWS, block.generator.rows))
    elif not is_suite:
        yield _set(owner, f"{at}.limit", min(FILE_ROWS, block.limit or FILE_ROWS))
