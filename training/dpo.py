"""Stage kind `dpo`: direct preference optimisation with trl.DPOTrainer on prompt/chosen/rejected message rows.

The reference is the parent model: a second copy for full fine-tuning, the model without its adapter under LoRA.
"""

from typing import Any

from trl import DPOTrainer

from training.context import StageContext
from training.models import load_policy
from training.resumable import CommitsCheckpoints, SamplesWholeBatches
from training.rows import shared_dataset


class DpoTrainer(SamplesWholeBatches, CommitsCheckpoints, DPOTrainer):
    """DPOTrainer (TRL 1.16) with two overrides: a sampler of whole batches by epoch, and committed checkpoints."""


PAIR_COLUMNS = ("prompt", "chosen", "rejected")


def make_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> DpoTrainer:
    """Build the trainer; `common` holds model, args, processing_class, peft_config and callbacks."""
    pairs = [{column: row[column] for column in PAIR_COLUMNS} for row in rows]
    reference = None
    if common["peft_config"] is None and not common["args"].precompute_ref_log_probs:
        reference = load_policy(context.training_parent, attention=context.stage.attention)
    trainer = DpoTrainer(train_dataset=shared_dataset(pairs, context), ref_model=reference, **common)
    trainer.optimizer_batch = context.stage.batch_size
    return trainer
