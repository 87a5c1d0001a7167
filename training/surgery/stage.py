"""What the stages without training have in common: rank 0 writes the model's folder, the others wait for it.

A stage that was interrupted starts its folder anew: nothing is drawn from the clock or from the number of ranks, so the
same tensors are written again.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from data.errors import UserError
from training.context import StageContext, StageResult
from training.facts import tokenizer_facts
from training.models import check_unchanged_template, load_tokenizer
from training.world import others_wait

Write = Callable[[Path], dict[str, Any]]


def make_model(context: StageContext, write: Write) -> StageResult:
    """Return a surgery stage's result; `write` fills the folder it is given with weights and config, and returns what
    the record's metrics say of it. A UserError of `write` is led by the key at fault; here it gets the stage.
    """
    context.ledger.begin()
    tokenizer = load_tokenizer(context.parent_model, context.chat_template)
    starts_from = context.stage.from_
    for name in starts_from if isinstance(starts_from, list) else [context.parent_name]:
        check_unchanged_template(context.record_of(name), tokenizer, context.stage.allow_template_change)
    folder = context.folder / "model"
    metrics: dict[str, Any] = {}
    context.state.update(force=True, phase="save")
    with others_wait(context.world):
        if context.world.is_main:
            with context.ledger.timing("checkpoint"):
                try:
                    metrics = write(folder)
                except UserError as error:
                    raise UserError(f"stages.{context.stage.name}.{error}") from error
                tokenizer.save_pretrained(str(folder))
            context.say(f"{metrics['parameters']:,} parameters in {folder}")
    context.ledger.end_step()
    return StageResult(metrics=metrics, tokenizer_facts=tokenizer_facts(tokenizer))
