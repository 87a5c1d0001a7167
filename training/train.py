"""One training stage from rows to artifact: the same steps for every kind that trains, but for `make_trainer`."""

import importlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback

from data.accounting import DROPPED_ROWS, Rows
from data.errors import UserError
from training.adapters import lora_config, quantized_policy, require_quantizer
from training.alarms import ALARMS
from training.balance import watch_own_work
from training.best_model import take_best
from training.changed_world import DrawsAnew, for_these_ranks, was_written_by
from training.checkpoint import commit, newest_whole
from training.config.data_blocks import PURPOSES
from training.context import StageContext, StageResult
from training.data_doctor import FLAGGED_ROWS, examine_stage
from training.difficulty import PASS_RATES
from training.emulated_bf16 import emulated_words, emulates_bf16
from training.engine import require_engine
from training.experts import KeepsExpertBias
from training.facts import reward_facts, tokenizer_facts
from training.fast_paths import in_words
from training.gradient_buckets import share_gradient_buckets
from training.head import HEAD_OUTPUTS, use_trained_positions_head
from training.health import HealthCallback
from training.held_out import held_out_hooks, held_out_tokens
from training.ledger import time_trainer
from training.masters import save_artifact
from training.metrics import MetricsCallback, training_flops
from training.mixture import seen_lines
from training.models import check_unchanged_template, load_policy, load_tokenizer, whole_on_this_rank
from training.preemption import Preemption
from training.probe import probe_hooks
from training.profiling import profile_hooks
from training.progress import Progress
from training.record import flush
from training.resumable import ResumeState
from training.rollback import lower_learning_rate, lowered_learning_rate, saved_samples
from training.rows import VALIDATION_ROWS, drop_torn_rows, keep_rows, stage_rows
from training.samples import SAMPLES
from training.saving import save
from training.step_rows import StepRows
from training.trainer_args import build_arguments
from training.walltime import Deadline, end_time, longest_save_s
from training.whole_folder import whole_folder
from training.world import join_deepspeed_on_cpu, others_wait

FILES = ("metrics.jsonl", SAMPLES, ALARMS, PASS_RATES, FLAGGED_ROWS, DROPPED_ROWS, VALIDATION_ROWS)


def run(context: StageContext) -> StageResult:
    """Train the stage's model and leave it in `<folder>/model`; the caller writes the record."""
    stage, runtime = context.stage, context.pipeline.runtime
    if runtime.zero_stage > 0:
        join_deepspeed_on_cpu()
    require_quantizer(stage)
    facts = {
        "processes": runtime.processes,
        "zero_stage": runtime.zero_stage,
        "fingerprint": context.planned.fingerprint,
    }
    whole = newest_whole(context.folder / "checkpoints", context.world, facts)
    ranks_before = was_written_by(whole, runtime.processes)
    checkpoint = whole if whole is None or ranks_before is None else for_these_ranks(context, whole)
    universal = checkpoint != whole
    arguments = build_arguments(stage, runtime, context.seed, context.folder / "checkpoints", universal)
    lowered = lowered_learning_rate(context.folder, context.world)
    if lowered is not None:
        arguments.learning_rate = lowered
    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    check_unchanged_template(context.record_of(context.parent_name), tokenizer, stage.allow_template_change)
    usable, account = stage_rows(context, tokenizer)
    account["doctor"] = examine_stage(context, usable, tokenizer, arguments)
    context.training_parent = plain_parent(context)

    drop_torn_rows(context)
    trainer = make_trainer(context, usable, arguments, tokenizer)
    keep_rows(context)
    require_engine(trainer, context)
    require_a_round(stage, trainer)
    share_gradient_buckets(trainer)
    callback, preemption = attach(context, trainer, checkpoint, usable)

    def commit_checkpoint(path: Path, write: Callable[[], None]) -> None:
        callback.write()  # the step's line must not be lost when the process dies right after the checkpoint

        def settle() -> None:
            flush_lines(context)
            commit(path, runtime.keep_checkpoints, facts)

        save(trainer, context.world, path, write, settle)

    trainer.commit_checkpoint = commit_checkpoint
    if ranks_before is not None:
        trainer.add_callback(DrawsAnew(context))
    account |= trainer_account(trainer, stage, account)
    announce(context, trainer, account)
    if ranks_before is not None:
        context.say(f"{ranks_before} rank(s) wrote the checkpoint: the same rows in each step, other bits from here on")
    for line in seen_lines(context.pipeline, stage, usable):
        context.say(line)
    trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    context.ledger.end_training()

    if preemption.requested:
        context.say(f"stopped at step {trainer.state.global_step} {preemption.words()}; run the same command to go on")
        return StageResult(preempted=True)
    context.state.update(force=True, phase="save")
    if context.world.is_main and getattr(trainer, "dynamic", None) is not None:
        trainer.dynamic.write()
    kept = take_best(context, callback.path)
    if kept is None:
        save_artifact(trainer, stage, adapted_weights(context), tokenizer, context.folder / "model", context.world)
    metrics = final_metrics(callback.path) if context.world.is_main else {}
    return StageResult(
        metrics=metrics,
        kept_probe=kept,
        data=account,
        rewards=reward_facts(stage),
        tokenizer_facts=tokenizer_facts(tokenizer),
        files=[name for name in FILES if (context.folder / name).is_file()] + saved_samples(context.folder),
    )


def flush_lines(context: StageContext) -> None:
    """Have the lines of the steps up to a checkpoint on disk before the checkpoint exists; rank 0 calls this."""
    for path in (context.folder / name for name in ("metrics.jsonl", SAMPLES, ALARMS)):
        if path.is_file():
            flush(path)


def make_trainer(context: StageContext, usable: Rows, arguments: Any, tokenizer: Any) -> Any:
    """Build the TRL trainer of the stage's kind around the parent's weights, with our head where it equals TRL's."""
    stage = context.stage
    torch.manual_seed(context.seed)
    model = initial_model(context)
    trainer = importlib.import_module(f"training.{stage.kind}").make_trainer(
        context,
        usable.rows,
        model=model,
        args=arguments,
        processing_class=tokenizer,
        peft_config=None if stage.lora is None else lora_config(stage.lora, stage.kind),
        callbacks=[],
        **held_out_tokens(context, usable.held_out, tokenizer, arguments),
    )
    if stage.kind in HEAD_OUTPUTS and context.pipeline.runtime.fast_paths:
        use_trained_positions_head(trainer, stage.kind)
    return trainer


def initial_model(context: StageContext) -> Any:
    """The weights that training starts from: the parent's, in four bits for QLoRA, with a new head to score with."""
    stage = context.stage
    if stage.kind == "reward_model":
        from training.reward_model import new_reward_model

        return new_reward_model(context)
    if stage.lora is not None and stage.lora.quantize is not None:
        return quantized_policy(context.training_parent, stage.attention)
    return load_policy(context.training_parent, attention=stage.attention)


def attach(
    context: StageContext, trainer: Any, checkpoint: Path | None, usable: Rows
) -> tuple[MetricsCallback, Preemption]:
    """Hang ledger, metrics, preemption and resume state on the trainer."""
    progress = Progress(context.planned.name, shown=context.world.is_main)
    callback = MetricsCallback(context.world, context.folder, context.ledger, context.state, progress, context.tracker)
    callback.trainer = trainer
    callback.flops_per_token, callback.peak_flops = training_flops(trainer)
    end = end_time(context.pipeline.runtime.walltime, context.started_unix, os.environ)
    draws_ahead = getattr(trainer, "one_step_off", None) is not None
    deadline = Deadline(end, longest_save_s(callback.path), draws_ahead)
    preemption = Preemption(context.world, context.state, context.stop, deadline)
    resume = ResumeState(trainer, checkpoint, context)
    trainer.remove_callback(PrinterCallback)
    measuring = [*held_out_hooks(context, trainer), *probe_hooks(context, trainer, callback)]
    step_rows = [] if hasattr(trainer, "on_round") else [StepRows(context, trainer, usable)]
    health = HealthCallback(context, callback, step_rows[0] if step_rows else trainer.on_round)
    lowering = lower_learning_rate(context.folder, trainer, context.world)
    trainer.add_callback(KeepsExpertBias(trainer, context.training_parent))
    for hook in (resume, *lowering, callback, *measuring, preemption, *step_rows, health, *profile_hooks(context)):
        trainer.add_callback(hook)
    count_tokens(trainer, callback, 2 if PURPOSES[context.stage.kind] == "preference" else 1)
    if context.world.size > 1:  # one rank has none to be compared with
        callback.own_work = watch_own_work(trainer)
    time_trainer(context.ledger, trainer)
    return callback, preemption


def count_tokens(trainer: Any, callback: MetricsCallback, rows_per_sample: int) -> None:
    """Count tokens, positions and samples (a pair is two rows, a packed row many) of every micro-batch trained on."""
    original = trainer._prepare_inputs

    def counted(inputs: Any) -> Any:
        prepared = original(inputs)
        if not trainer.model.training:
            return prepared  # held-out rows
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
    with others_wait(context.world):
        if context.world.is_main and not merged.is_dir():
            with whole_folder(merged) as folder, whole_on_this_rank():
                load_policy(parent).save_pretrained(str(folder))
    return merged


def adapted_weights(context: StageContext) -> Path:
    """The weights that a saved adapter belongs to: a reward model's are merged, into the parent's plain ones."""
    return context.training_parent if context.stage.kind == "reward_model" else context.parent_model


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
        reason = "longer_than_max_length" if stage.kind == "reward_model" else "no_trained_token_within_max_length"
        dropped[reason] = account["rows_kept"] - trained
    step = stage.batch_size
    if stage.kind == "grpo":
        step = trainer.args.generation_batch_size // trainer.num_generations
    return {"rows_kept": trained, "dropped": dropped, "left_over_per_epoch": trained % step}


def announce(context: StageContext, trainer: Any, account: dict[str, Any]) -> None:
    """Say what is about to be trained."""
    unit = {"pretrain": "texts", "sft": "rows", "grpo": "prompts"}.get(context.stage.kind, "pairs")
    context.say(f"{account['rows_kept']} {unit}, batch size {context.stage.batch_size}, {context.world.size} rank(s)")
    for line in in_words(trainer, context.stage.kind, context.pipeline.runtime.fast_paths):
        context.say(line)
    if trainer.args.bf16 and trainer.args.device.type == "cpu" and emulates_bf16():
        context.say(emulated_words(trains=True))


def final_metrics(path: Path) -> dict[str, Any]:
    """The last step's metrics, for the record."""
    lines = path.read_text().splitlines() if path.is_file() else []
    if not lines:
        return {}
    last = json.loads(lines[-1])
    return {name: recordable(value) for name, value in last.items() if name != "time"}


def recordable(value: Any) -> Any:
    """A metric as JSON has it: NaN and infinity, which it has not, are None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
