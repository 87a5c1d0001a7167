"""Stage kind `dpo`: direct preference optimisation with trl.DPOTrainer on prompt/chosen/rejected message rows.

The reference is the parent model: a second copy for full fine-tuning, the model without its adapter under LoRA.
"""

from typing import Any

from trl import DPOTrainer

from training.context import StageContext
from training.head import use_trained_positions_head
from training.held_out import MeasuresHeldOut
from training.length_correlation import NotesLengthCorrelation
from training.length_groups import OrdersStepsByLength
from training.models import load_policy
from training.reference_logps import ReferenceLogps
from training.resumable import CommitsCheckpoints, SamplesWholeBatches
from training.token_budget import SplitsByTokens
from training.token_cache import tokenised_rows
from training.tokens import TakesTokenisedPairs


class DpoTrainer(
    NotesLengthCorrelation,
    MeasuresHeldOut,
    TakesTokenisedPairs,
    OrdersStepsByLength,
    SamplesWholeBatches,
    SplitsByTokens,
    CommitsCheckpoints,
    DPOTrainer,
):
    """DPOTrainer (TRL 1.16) with eight overrides: the loss is listened to, the log gets a metric more, evaluation has
    random numbers of its own, rows tokenised before, a sampler of whole batches by epoch, each in order of length,
    micro-batches in parts, committed checkpoints, and `_precompute_ref_logps`, which TRL's constructor calls before
    anyone else could give the model the head that scores trained positions, and whose numbers are kept pair by pair.
    """

    def __init__(self, *args: Any, reference_logps: ReferenceLogps | None = None, **kwargs: Any):
        self.reference_logps = reference_logps
        self.fast_paths = reference_logps is None or reference_logps.context.pipeline.runtime.fast_paths
        super().__init__(*args, **kwargs)

    def _precompute_ref_logps(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        if self.fast_paths:
            use_trained_positions_head(self, "dpo")
            if self.reference_logps is not None and self.reference_logps.usable():
                return self.reference_logps.add_columns(self, dataset)
        return super()._precompute_ref_logps(dataset, *args, **kwargs)


def make_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> DpoTrainer:
    """Build the trainer; `common` holds model, args, processing_class, peft_config and callbacks."""
    tokens = tokenised_rows(rows, context, common["processing_class"], common["args"])
    reference = None
    if common["peft_config"] is None and not common["args"].precompute_ref_log_probs:
        reference = load_policy(context.training_parent, attention=context.stage.attention)
    kept = ReferenceLogps(context, common["args"])
    trainer = DpoTrainer(train_dataset=tokens, ref_model=reference, reference_logps=kept, **common)
    trainer.optimizer_batch = context.stage.batch_size
    trainer.micro_batch_tokens = context.pipeline.runtime.micro_batch_tokens
    return trainer
