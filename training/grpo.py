"""Stage kind `grpo`: reinforcement learning from rule-based rewards with trl.GRPOTrainer (arXiv 2402.03300).

Rollouts come from `training.rollout` through TRL's `rollout_func`, scores from one call a batch. One rollout round may
feed several optimizer steps (`generation_batch_size`, `num_iterations`); both are named in the metrics.
"""

from typing import Any

from trl.models.utils import unwrap_model_for_generation

from training.context import StageContext
from training.grpo_trainer import GrpoTrainer, rounds_begun
from training.identity import derived_seed
from training.models import eos_ids
from training.reward_functions import RewardAdapter
from training.rewards.scoring import Scorer
from training.rollout import Sampling, generate
from training.rows import shared_dataset
from training.samples import RoundLog
from training.tokens import rendered_prompts

ROLLOUT_ROWS = 64  # completions of a rank decoded together: bounds the KV cache, not the round


def make_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> GrpoTrainer:
    """Build the trainer; `common` holds model, args, processing_class, peft_config and callbacks."""
    adapter = RewardAdapter(Scorer(context.stage.rewards, context.stage.max_error_rate))
    trainer = GrpoTrainer(
        train_dataset=shared_dataset(rows, context),
        reward_funcs=adapter.functions,
        rollout_func=rollout,
        **common,
    )
    trainer.on_round, trainer.scorer = RoundLog(context, adapter), adapter.scorer
    return trainer


def rollout(prompts: list[Any], trainer: GrpoTrainer) -> dict[str, Any]:
    """Draw this rank's completions for `prompts` (copies of a prompt stand together); TRL's `rollout_func`.

    The random numbers follow from (seed, round, rank), so an interrupted run draws the same completions again.
    """
    tokenizer, args = trainer.processing_class, trainer.args
    unique, draws = group_copies(prompts)
    prompt_ids = rendered_prompts(unique, tokenizer)
    sampling = Sampling(args.max_completion_length, args.temperature, args.top_p)
    seed = derived_seed(args.seed, f"rollout:{rounds_begun(trainer)}:{trainer.accelerator.process_index}")
    with unwrap_model_for_generation(
        trainer.model_wrapped, trainer.accelerator, gather_deepspeed3_params=args.ds3_gather_for_generation
    ) as model:
        eos = eos_ids(model, tokenizer)
        with trainer.accelerator.autocast():
            completion_ids = generate(model, prompt_ids, draws, sampling, eos, seed, batch_size=ROLLOUT_ROWS)
    repeated = [ids for ids in prompt_ids for _ in range(draws)]
    return {"prompt_ids": repeated, "completion_ids": completion_ids, "logprobs": None}


def group_copies(prompts: list[Any]) -> tuple[list[Any], int]:
    """Return the prompts without their adjacent copies and how many copies each has; 1 where the counts differ."""
    runs: list[list[Any]] = []
    for prompt in prompts:
        if runs and runs[-1][0] == prompt:
            runs[-1].append(prompt)
        else:
            runs.append([prompt])
    if len({len(run) for run in runs}) == 1:
        return [run[0] for run in runs], len(runs[0])
    return prompts, 1
