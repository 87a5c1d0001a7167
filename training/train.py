"""One training stage from rows to artifact: the same steps for sft, dpo and grpo, which differ in `make_trainer`."""

import importlib
import json
import os
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from data.errors import UserError
from training.adapters import lora_config, quantized_policy, require_quantizer
from training.checkpoint import commit, newest_whole
from training.context import StageContext, StageResult
from training.data_doctor import FLAGGED_ROWS, examine_stage
from training.engine import require_engine
from training.facts import reward_facts, tokenizer_facts
from training.gradient_buckets import share_gradient_buckets
from training.head import use_trained_positions_head
from training.ledger import time_trainer
from training.masters import save_artifact
from training.metrics import MetricsCallback, measured_peak_flops
from training.mixture import seen_lines
from training.models import check_unchanged_template, load_policy, load_tokenizer
from training.preemption import Preemption
from training.progress import Progress
from training.resumable import ResumeState
from training.rows import stage_rows
from training.tracker import NullTracker, Tracker, open_tracker
from training.trainer_args import build_arguments
from training.walltime import Deadline, end_time, longest_save_s
from training.world import barrier, join_deepspeed_on_cpu


def run(context: StageContext) -> StageResult:
    """Train the stage's model and leave it in `<folder>/model`; the caller writes the record."""
    stage, runtime = context.stage, context.pipeline.runtime
    if runtime.zero_stage > 0:
        join_deepspeed_on_cpu()
    require_quantizer(stage)
    arguments = build_arguments(stage, runtime, context.seed, context.folder / "checkpoints")
    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    check_unchanged_template(context.record_of(context.parent_name), tokenizer, stage.allow_template_change)
    usable, account = stage_rows(context, tokenizer)
    account["doctor"] = examine_stage(context, usable, tokenizer, arguments)
    facts = {
        "processes": runtime.processes,
        "zero_stage": runtime.zero_stage,
        "fingerprint": context.planned.fingerprint,
    }
    checkpoint = newest_whole(context.folder / "checkpoints", context.world, facts)
    context.training_parent = plain_parent(context)

    trainer = make_trainer(context, usable.rows, arguments, tokenizer)
    require_engine(trainer, context)
    require_a_round(stage, trainer)
    share_gradient_buckets(trainer)
    callback, tracker, preemption = attach(context, trainer, checkpoint)

    def commit_checkpoint(path: Path) -> None:
        callback.write()  # the step's line must not be lost when the process dies right after the checkpoint
        commit(path, context.world, runtime.keep_checkpoints, facts)

    trainer.commit_checkpoint = commit_checkpoint
    account |= trainer_account(trainer, stage, account)
    announce(context, trainer, account, checkpoint)
    for line in seen_lines(context.pipeline, stage, usable):
        context.say(line)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))

    if preemption.requested:
        tracker.finish()
        context.say(f"stopped at step {trainer.state.global_step} {preemption.words()}; run the same command to go on")
        return StageResult(preempted=True)
    context.state.update(force=True, phase="save")
    save_artifact(trainer, stage, context.parent_model, tokenizer, context.folder / "model", context.world)
    metrics = final_metrics(callback.path) if context.world.is_main else {}
    tracker.summary(metrics)
    tracker.finish()
    return StageResult(
        metrics=metrics,
        data=account,
        rewards=reward_facts(stage),
        tokenizer_facts=tokenizer_facts(tokenizer),
        files=[name for name in ("metrics.jsonl", "samples.jsonl", FLAGGED_ROWS) if (context.folder / name).is_file()],
    )


def make_trainer(context: StageContext, rows: list[dict[str, Any]], arguments: Any, tokenizer: Any) -> Any:
    """Build the TRL trainer of the stage's kind around the parent's weights, with our head where it equals TRL's."""
    stage = context.stage
    torch.manual_seed(context.seed)
    if stage.lora is not None and stage.lora.quantize is not None:
        model = quantized_policy(context.training_parent, stage.attention)
    else:
        model = load_policy(context.training_parent, attention=stage.attention)
    trainer = importlib.import_module(f"training.{stage.kind}").make_trainer(
        context,
        rows,
        model=model,
        args=arguments,
        processing_class=tokenizer,
        peft_config=None if stage.lora is None else lora_config(stage.lora),
        callbacks=[],
    )
    use_trained_positions_head(trainer, stage.kind)
    return trainer


def attach(context: StageContext, trainer: Any, checkpoint: Path | None) -> tuple[MetricsCallback, Tracker, Preemption]:
    """Hang ledger, metrics, tracker, preemption and resume state on the trainer."""
    tracker: Tracker = NullTracker()
    if context.world.is_main:
        tracker = open_tracker(
            context.pipeline.runtime,
            context.pipeline.name,
            context.planned.name,
            context.planned.kind,
            context.stage.model_dump(mode="json"),
            context.folder,
            offline=context.pipeline.offline,
        )
    progress = Progress(context.planned.name, shown=context.world.is_main)
    callback = MetricsCallback(context.world, context.folder, context.ledger, context.state, progress, tracker)
    callback.trainer = trainer
    callback.flops_per_token = 6.0 * sum(p.numel() for p in trainer.model.parameters())
    device = next(trainer.model.parameters()).device
    callback.peak_flops = measured_peak_flops(torch.bfloat16 if trainer.args.bf16 else torch.float32, device)
    end = end_time(context.pipeline.runtime.walltime, context.started_unix, os.environ)
    deadline = Deadline(end, longest_save_s(callback.path))
    preemption = Preemption(context.world, context.state, context.stop, deadline)
    resume = ResumeState(trainer, checkpoint)
    trainer.remove_callback(PrinterCallback)
    for hook in (resume, callback, preemption):
        trainer.add_callback(hook)
    count_tokens(trainer, callback, 2 if context.stage.kind == "dpo" else 1)
    if hasattr(trainer, "on_round"):
        trainer.on_round.tracker = tracker
    time_trainer(context.ledger, trainer)
    return callback, tracker, preemption


def count_tokens(trainer: Any, callback: MetricsCallback, rows_per_sample: int) -> None:
    """Count tokens, positions and samples (a pair is two rows, a packed row many) of every micro-batch trained on."""
    original = trainer._prepare_inputs

    def counted(inputs: Any) -> Any:
        prepared = original(inputs)
        if "attention_mask" in prepared:
            masks = [prepared["attention_mask"]]
        elif "completion_mask" in prepared:
            masks = [prepared["prompt_mask"], prepared["completion_mask"]]
        else:
            masks = [torch.ones_like(prepared["input_ids"])]
        rows = masks[0].shape[0] // rows_per_sample
        if "position_ids" in prepared:
            rows = int((prepared["position_ids"] == 0).sum())
        callback.count(int(sum(mask.sum() for mask in masks)), rows, sum(mask.numel() for mask in masks))
        return prepared

    trainer._prepare_inputs = counted


def plain_parent(context: StageContext) -> Path:
    """The parent as a folder of plain weights: an adapter is merged once into the stage's folder."""
    parent = context.parent_model
    if not (parent / "adapter_config.json").is_file():
        return parent
    merged = context.folder / "merged_parent"
    if context.world.is_main and not (merged / "config.json").is_file():
        load_policy(parent).save_pretrained(str(merged))
    barrier(context.world)
    return merged


def require_a_round(stage: Any, trainer: Any) -> None:
    """Refuse data that cannot fill one optimizer step (or GRPO rollout round): TRL would train nothing and say done."""
    rows = len(trainer.train_dataset)
    needed, unit = stage.batch_size, "rows"
    if stage.kind == "grpo":
        needed, unit = trainer.args.generation_batch_size // trainer.num_generations, "prompts"
    if rows < needed:
        raise UserError(
            f"stages.{stage.name}: {rows} {unit} with a token to train on, one step needs {needed}; "
            "give more data or a smaller batch_size"
        )


def trainer_account(trainer: Any, stage: Any, account: dict[str, Any]) -> dict[str, Any]:
    """What the trainer did to the rows after us: those it dropped, and what is left over at the end of each epoch."""
    trained = len(trainer.train_dataset)
    if getattr(trainer.args, "packing", False):
        return {"packed_rows": trained, "left_over_per_epoch": trained % stage.batch_size}
    dropped = dict(account["dropped"])
    if trained < account["rows_kept"]:
        dropped["no_trained_token_within_max_length"] = account["rows_kept"] - trained
    step = stage.batch_size
    if stage.kind == "grpo":
        step = trainer.args.generation_batch_size // trainer.num_generations
    return {"rows_kept": trained, "dropped": dropped, "left_over_per_epoch": trained % step}


def announce(context: StageContext, trainer: Any, account: dict[str, Any], checkpoint: Path | None) -> None:
    """Say what is about to be trained, and what was restored."""
    unit = {"sft": "rows", "dpo": "pairs", "grpo": "prompts"}[context.stage.kind]
    context.say(f"{account['rows_kept']} {unit}, batch size {context.stage.batch_size}, {context.world.size} rank(s)")
    if checkpoint is not None:
        context.say(f"resuming from {checkpoint.name}: weights, optimizer, schedule, random numbers and data position")


def final_metrics(path: Path) -> dict[str, Any]:
    """The last step's metrics, for the record."""
    lines = path.read_text().splitlines() if path.is_file() else []
    if not lines:
        return {}
    last = json.loads(lines[-1])
    return {name: value for name, value in last.items() if name != "time"}
