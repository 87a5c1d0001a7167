"""Stage kind `sft`: supervised fine-tuning with trl.SFTTrainer on prompt/completion message rows.

The loss is on the completion alone (TRL's default for such rows), token-averaged over the whole optimizer step.
"""

from pathlib import Path
from typing import Any

from trl import SFTTrainer

from training.context import StageContext
from training.experts import BalanceExperts, balance_experts
from training.held_out import MeasuresHeldOut
from training.length_groups import OrdersStepsByLength
from training.resumable import CommitsCheckpoints, SamplesWholeBatches
from training.token_budget import SplitsByTokens
from training.token_cache import tokenised_rows


class SftTrainer(
    MeasuresHeldOut,
    OrdersStepsByLength,
    SamplesWholeBatches,
    SplitsByTokens,
    CommitsCheckpoints,
    SFTTrainer,
):
    """SFTTrainer (TRL 1.16) with four overrides: evaluation with random numbers of its own, a sampler of whole batches
    by epoch, each in order of length, micro-batches in parts, and committed checkpoints, with the experts' biases.
    """

    balance: BalanceExperts | None = None

    def save_own_state(self, checkpoint: Path) -> None:
        """Write the experts' biases, where they are balanced by them."""
        if self.balance is not None:
            checkpoint.mkdir(parents=True, exist_ok=True)
            self.balance.save(checkpoint)

    def restore(self, checkpoint: Path) -> None:
        """Put back what the trainer alone knows."""
        if self.balance is not None:
            self.balance.restore(checkpoint)


def make_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> SftTrainer:
    """Build the trainer; `common` holds model, args, processing_class, peft_config and callbacks."""
    tokens = tokenised_rows(rows, context, common["processing_class"], common["args"])
    trainer = SftTrainer(train_dataset=tokens, **common)
    trainer.optimizer_batch = context.stage.batch_size
    trainer.micro_batch_tokens = context.pipeline.runtime.micro_batch_tokens
    balance_experts(context.stage, trainer, context.world)
    return trainer
