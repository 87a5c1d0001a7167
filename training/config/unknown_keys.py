"""What to say about a key that does not belong where it stands: a former spelling, another block's key, or a slip.

TRL's two batch-size fields get the values to write in their place, computed from what the file says.
"""

from __future__ import annotations

from collections.abc import Iterator

from training.config.document import Document, KeyPath
from training.config.schema_words import block_at
from training.config.suggest import nearest
from training.config.trainer_fields import CONFIG_CLASSES, fields

_FORMER_TOP_LEVEL = {
    "base_model": "write model",
    "model_name_or_path": "write model",
    "model_name": "write model",
    "output_dir": "write runtime.runs_dir; the run folder is named after the pipeline",
    "tokenizer": "the tokenizer comes with the model",
    "eval": "write evaluate",
    "evaluation": "write evaluate",
    "pipeline": "write stages",
}
_IN_LIKELIHOOD = (
    "balance experts in pretrain and sft: a bias that moves while preferences or rewards are learned changes, without "
    "a gradient, the policy that the loss compares with"
)
_FORMER_STAGE = {
    "expert_balance": _IN_LIKELIHOOD,
    "bias_update_speed": _IN_LIKELIHOOD,
    "type": "write kind",
    "method": "write kind",
    "params": "write trainer",
    "args": "write trainer",
    "dataset": "write data",
    "train_batch_size": "write batch_size",
    "global_batch_size": "write batch_size",
    "peft": "write lora",
    "num_samples": "write draws",
    "num_generations": "write draws in a stage of kind sample, trainer.num_generations in one of kind grpo",
    "group_size": "write trainer.num_generations",
    "reward_funcs": "write rewards",
    "reward_weights": "write a weight in each entry of rewards",
    "max_new_tokens": "write max_completion_length",
}
_FORMER_TRAINER = {
    "lr": "write learning_rate",
    "epochs": "write num_train_epochs",
    "steps": "write max_steps",
    "warmup_ratio": "write warmup_steps; a value below 1 is a share of all steps",
    "group_by_length": "rows are drawn by posttrain's own sampler, a new shuffle in each epoch",
    "max_seq_length": "write max_length",
    "max_prompt_length": "write data.max_prompt_tokens, which drops longer prompts and counts them",
    "max_new_tokens": "write max_completion_length",
    "group_size": "write num_generations",
    "num_sample_generations": "write num_generations",
    "evaluation_strategy": "write the top level's evaluate block, or data.validation for the loss on held-out rows",
    "no_cuda": "the device follows from the machine; hide GPUs with CUDA_VISIBLE_DEVICES",
    "logging_dir": "metrics stand in the stage's folder; a tracker is chosen with runtime.tracker",
    "per_gpu_train_batch_size": "write the stage's batch_size and runtime.micro_batch_size",
    "dtype": "write bf16: true or bf16: false",
    "torch_dtype": "write bf16: true or bf16: false",
}
_FORMER_RUNTIME = {
    "num_processes": "write processes",
    "nproc_per_node": "write processes",
    "gpus": "write processes",
    "world_size": "write processes",
    "report_to": "write tracker",
    "wandb": "write tracker: wandb",
    "zero": "write zero_stage",
    "save_steps": "write checkpoint_every",
    "save_total_limit": "write keep_checkpoints",
    "per_device_train_batch_size": "write micro_batch_size",
}
_FORMER_DATA = {
    "dataset": "write hub, path, generator or stage",
    "file": "write path",
    "name": "write hub, path, generator or stage",
    "max_prompt_length": "write max_prompt_tokens",
    "n": "write limit",
    "max_samples": "write limit",
    "config": "write subset",
    "revision": 'write it in hub, as "org/name@revision"',
}
BATCH_FIELDS = ("per_device_train_batch_size", "gradient_accumulation_steps")


def unknown_key(document: Document, at: KeyPath, kind: str | None) -> str:
    """Return the message for a key that the schema does not have at this path; `kind` is its stage's kind."""
    key, block_path = str(at[-1]), at[:-1]
    if block_path[:1] == ("stages",) and len(block_path) == 2 and key in BATCH_FIELDS:
        return batch_advice(document, block_path)
    former = _former_names(block_path).get(key)
    if former:
        return f"is not a key here; {former}"
    elsewhere = _block_that_has(key, block_path, kind)
    if elsewhere:
        return f"is not a key here; it belongs in {elsewhere}"
    block = block_at(block_path, kind) or {}
    keys = [name for name in block.get("properties", {}) if name != "parent"]
    return f"unknown key{nearest(key, keys)}; accepted here: {', '.join(keys)}"


def filled_in_keys(document: Document) -> Iterator[tuple[KeyPath, str]]:
    """Yield the keys that loading fills in and a file may not set."""
    stages = document.value(("stages",))
    for index in range(len(stages) if isinstance(stages, list) else 0):
        at: KeyPath = ("stages", index, "parent")
        if document.holds(at):
            yield at, "is filled in when the file is loaded; write from"


def unknown_trainer_field(document: Document, at: KeyPath, kind: str) -> str:
    """Return the message for a key of `trainer:` that the TRL config of this kind does not have."""
    key, stage_path = str(at[-1]), at[:2]
    former = _FORMER_TRAINER.get(key)
    if former:
        return f"is not a field of {CONFIG_CLASSES[kind]}; {former}"
    stage = block_at(stage_path, kind) or {}
    if key in stage.get("properties", {}):
        return f"is a key of the stage, not of trainer; write it beside trainer in {document.name(stage_path)}"
    owners = [name for name in CONFIG_CLASSES if key in fields(name)]
    if owners:
        return f"is a field of kind {' and '.join(owners)}, not of {kind} ({CONFIG_CLASSES[kind]}); remove it"
    elsewhere = _block_that_has(key, at[:-1], kind)
    if elsewhere:
        return f"is not a field of {CONFIG_CLASSES[kind]}; it belongs in {elsewhere}"
    return f"is not a field of {CONFIG_CLASSES[kind]}{nearest(key, fields(kind))}"


def batch_advice(document: Document, stage_path: KeyPath) -> str:
    """Return what to write in place of TRL's two batch-size fields, computed from what the stage and runtime say."""
    stage = document.value(stage_path, {})
    trainer = stage.get("trainer")
    given = {**stage, **(trainer if isinstance(trainer, dict) else {})}
    per_rank, accumulation = (given.get(name, 1) for name in BATCH_FIELDS)
    processes = document.value(("runtime", "processes"), 1)
    if not all(type(number) is int and number >= 1 for number in (per_rank, accumulation, processes)):
        return "is derived; write the stage's batch_size and runtime.micro_batch_size"
    unit = {"dpo": "pairs", "reward_model": "pairs", "grpo": "completions"}.get(stage.get("kind"), "rows")
    micro = f" and runtime.micro_batch_size: {per_rank}" if BATCH_FIELDS[0] in given else ""
    if BATCH_FIELDS[0] not in given:
        per_rank = document.value(("runtime", "micro_batch_size"), 4)
    return (
        f"is derived; write batch_size: {per_rank * accumulation * processes} on the stage{micro} "
        f"({per_rank} {unit} x {accumulation} accumulation steps x {processes} ranks)"
    )


def _former_names(block_path: KeyPath) -> dict[str, str]:
    if not block_path:
        return _FORMER_TOP_LEVEL
    if block_path == ("runtime",):
        return _FORMER_RUNTIME
    if block_path[-1] == "data":
        return _FORMER_DATA
    if block_path[0] == "stages" and len(block_path) == 2:
        return _FORMER_STAGE
    return {}


def _block_that_has(key: str, block_path: KeyPath, kind: str | None) -> str:
    """Name the other block where this key is right, nearest first; empty where there is none."""
    in_stage = block_path[:1] == ("stages",) and len(block_path) >= 2
    if in_stage and kind in CONFIG_CLASSES and block_path[-1] != "trainer" and key in fields(kind):
        return "the stage's trainer"
    candidates: list[tuple[str, KeyPath]] = [("runtime", ("runtime",)), ("the top level", ())]
    if in_stage:
        stage_path = block_path[:2]
        inner: list[tuple[str, KeyPath]] = [("the stage's data", (*stage_path, "data")), ("the stage", stage_path)]
        candidates = inner + candidates
    for words, path in candidates:
        if path != block_path and key in (block_at(path, kind) or {}).get("properties", {}):
            return words
    return ""
