"""Stage kind `reward_model`: a model that scores answers, with trl.RewardTrainer on prompt/chosen/rejected messages.

The parent's weights get a new head with one output (Bradley-Terry loss: Ouyang et al. 2022, arXiv 2203.02155, eq. 1),
drawn from the stage's seed. The artifact is a sequence classification model; `training.reward_scores` reads it.
"""

from typing import Any

import torch
from trl import RewardTrainer

from training.context import StageContext
from training.held_out import MeasuresHeldOut
from training.length_groups import OrdersStepsByLength
from training.resumable import CommitsCheckpoints, SamplesWholeBatches
from training.reward_scores import load_reward_model
from training.token_budget import SplitsByTokens
from training.token_cache import tokenised_rows


class RewardModelTrainer(
    MeasuresHeldOut, OrdersStepsByLength, SamplesWholeBatches, SplitsByTokens, CommitsCheckpoints, RewardTrainer
):
    """RewardTrainer (TRL 1.16) with four overrides: evaluation with random numbers of its own, a sampler of whole
    batches by epoch, each in order of length, micro-batches in parts, and committed checkpoints.
    """


def make_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> RewardModelTrainer:
    """Build the trainer; `common` holds model, args, processing_class, peft_config and callbacks."""
    tokens = tokenised_rows(rows, context, common["processing_class"], common["args"])
    trainer = RewardModelTrainer(train_dataset=tokens, **common)
    trainer.optimizer_batch = context.stage.batch_size
    trainer.micro_batch_tokens = context.pipeline.runtime.micro_batch_tokens
    return trainer


def new_reward_model(context: StageContext) -> Any:
    """The parent with a head of one output, the same on every rank."""
    torch.manual_seed(context.seed)
    return load_reward_model(context.training_parent, attention=context.stage.attention)
