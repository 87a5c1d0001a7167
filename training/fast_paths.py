"""Which of our faster ways a stage takes, and what is left to TRL and why: told once, before the first step.

All give TRL's numbers up to rounding (docs/speed.md names the tests); `runtime.fast_paths: false` leaves everything to
TRL, to find out whether one of them is at fault.
"""

from collections.abc import Iterator
from typing import Any

from training.alike_rows import may_reorder
from training.head import HEAD_OUTPUTS, why_not_trained_positions, why_trl_head
from training.models import without_adapters
from training.packed_linear import kernel_in_words, why_not_packed
from training.shared_context import why_not_shared
from training.signal_rows import may_skip_silent_rows

HEAD = "trained positions scored alone"
CONTEXTS = "shared prompts run once"
PACKED = "weights packed for rollouts"
SILENT = "completions without an advantage skipped"
SHARED = "completions shared among ranks by work"


def found(trainer: Any, kind: str) -> Iterator[tuple[str, str | None]]:
    """Yield each fast path that a stage of this kind may take, and the reason where it does not."""
    if kind not in HEAD_OUTPUTS:
        return
    plain = without_adapters(trainer.accelerator.unwrap_model(trainer.model))
    head = why_trl_head(trainer) or why_not_trained_positions(plain, trainer.accelerator.device)
    yield HEAD, head
    if kind in ("dpo", "grpo"):
        yield CONTEXTS, "with TRL's head" if head else why_not_shared(plain, training=True)
    if kind == "grpo":
        silent = may_skip_silent_rows(trainer)
        yield SILENT, None if silent else "their loss is not 0 (beta, entropy, an auxiliary or another loss)"
        yield PACKED, why_not_packed(trainer)
        if trainer.accelerator.num_processes > 1:
            reason = None if may_reorder(trainer) else "in this loss a row's weight depends on its neighbours"
            yield SHARED, reason


def in_words(trainer: Any, kind: str, allowed: bool) -> list[str]:
    """The lines that tell it: what is taken, then what is not."""
    if not allowed:
        return ["fast paths: none (runtime.fast_paths is false)"]
    paths = list(found(trainer, kind))
    taken = [name for name, reason in paths if reason is None]
    if kind == "grpo" and CONTEXTS in taken:
        taken[taken.index(CONTEXTS)] += _how_often(trainer)
    if PACKED in taken:
        taken[taken.index(PACKED)] += kernel_in_words()
    lines = [f"fast paths: {', '.join(taken)}"] if taken else []
    return lines + [f"left to TRL: {name}: {reason}" for name, reason in paths if reason is not None]


def _how_often(trainer: Any) -> str:
    """What a micro-batch smaller than a group costs, and the setting that would not."""
    rows, group = trainer.args.per_device_train_batch_size, trainer.num_generations
    if rows >= group or rows * trainer.args.gradient_accumulation_steps % group:  # a rank's step holds no whole groups
        return ""
    return f" in each micro-batch of {rows} (once a group with runtime.micro_batch_size.grpo={group})"
