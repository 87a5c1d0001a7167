"""Stage kind `grpo`: reinforcement learning from rewards with trl.GRPOTrainer (arXiv 2402.03300).

Rollouts come from `training.rollout` through TRL's `rollout_func`, scores from one call a batch. One rollout round may
feed several optimizer steps (`generation_batch_size`, `num_iterations`); both are named in the metrics.
"""

import copy
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

from trl.models.utils import unwrap_model_for_generation

from training import one_step_off, vllm_rollout
from training.context import StageContext
from training.copied_policy import CopiedPolicy
from training.dynamic_sampling import PROMPT_ROW, DynamicSampling
from training.environments import SEED, load_environment
from training.grpo_trainer import GrpoTrainer
from training.identity import derived_seed
from training.judge import JudgeCalls
from training.model_reward import open_model_reward
from training.models import eos_ids
from training.packed_linear import PackedLinears, packed_linears, why_not_packed
from training.parity import ParityProof
from training.reward_functions import RewardAdapter, stage_scorer
from training.rollout import Observe, Sampling, generate
from training.rounds import rounds_begun
from training.rows import shared_dataset
from training.samples import RoundLog
from training.tokens import rendered_prompts
from training.tools import load_tools, tokenizer_for_tools

ROLLOUT_ROWS = 64  # completions of a rank decoded together: bounds the KV cache, not the round


def make_trainer(context: StageContext, rows: list[dict[str, Any]], **common: Any) -> GrpoTrainer:
    """Build the trainer; `common` holds model, args, processing_class, peft_config and callbacks."""
    judge = None if context.stage.judge is None else JudgeCalls(context.stage.judge, context.stage.max_error_rate)
    adapter = RewardAdapter(stage_scorer(context), open_model_reward(context, common["args"]), judge)
    if context.stage.dynamic_sampling is not None:
        rows = [{**row, PROMPT_ROW: number} for number, row in enumerate(rows)]
    tools, factory = load_tools(context.stage.tools, context.stage.name), None
    called = [spec.called for spec in context.stage.tools]
    spec = context.stage.environment
    if spec is not None:
        factory = load_environment(spec, context.stage.name, called)
        rows = with_seeds(rows, context.seed)
        called.append(f"the methods of {spec.called}, one for each completion")
    if called:
        common["processing_class"] = tokenizer_for_tools(common["processing_class"], context.stage.name)
        context.say(f"tools: {', '.join(called)}; called by TRL between turns; every turn is drawn by posttrain")
    by_vllm, off_policy = context.stage.rollout == "vllm", context.stage.one_step_off_policy
    copied = copy.deepcopy(common["model"]) if off_policy and not by_vllm else None
    trainer = GrpoTrainer(
        train_dataset=shared_dataset(rows, context),
        reward_funcs=adapter.functions,
        rollout_func=one_step_off.rollout if off_policy else vllm_rollout.rollout if by_vllm else rollout,
        tools=tools or None,
        environment_factory=factory,
        **common,
    )
    trainer.by_vllm = by_vllm
    leave_out_own_reward(trainer, len(adapter.weights))
    if by_vllm:
        vllm_rollout.attach(context, trainer)
    if off_policy:
        sampler = trainer.vllm_generation if by_vllm else CopiedPolicy(copied, trainer, decode_copies)
        one_step_off.attach(context, trainer, sampler)
    trainer.on_round, trainer.scorer = RoundLog(context, adapter), adapter.scorer
    trainer.parity = ParityProof(context)
    trainer.draw_turn = next_turn
    trainer.fast_paths = context.pipeline.runtime.fast_paths
    trainer.on_rows_done = context.state.rows_done
    if context.stage.dynamic_sampling is not None:
        trainer.dynamic = DynamicSampling(context, adapter, trainer.train_dataset, draw)
    return trainer


def with_seeds(rows: list[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """Return the rows with a seed for their environments, the same one for all completions of a row in every epoch."""
    return [{SEED: derived_seed(seed, f"environment:{place}"), **row} for place, row in enumerate(rows)]


def leave_out_own_reward(trainer: GrpoTrainer, named: int) -> None:
    """Take back the reward that TRL adds for an environment with `get_reward`: the stage's reward `environment` is it,
    with a weight, and with the errors of the others.
    """
    for of_each in (trainer.reward_funcs, trainer.reward_func_names, trainer.reward_processing_classes):
        del of_each[named:]
    trainer.reward_weights = trainer.reward_weights[:named]


def rollout(prompts: list[Any], trainer: GrpoTrainer) -> dict[str, Any]:
    """Draw this rank's completions for `prompts` (copies of a prompt stand together); TRL's `rollout_func`."""
    number = rounds_begun(trainer)
    trainer.turns = 0
    observer = trainer.parity.observer(trainer)
    prompt_ids, completion_ids = draw(prompts, trainer, str(number), observer)
    if observer is not None:
        trainer.parity.check(trainer, observer, prompt_ids, completion_ids)
    if trainer.dynamic is not None:
        prompt_ids, completion_ids = trainer.dynamic.fill(trainer, number, prompt_ids, completion_ids)
    return {"prompt_ids": prompt_ids, "completion_ids": completion_ids, "logprobs": None}


def draw(
    prompts: list[Any], trainer: GrpoTrainer, name: str, observer: Observe | None = None
) -> tuple[list[list[int]], list[list[int]]]:
    """Return (prompt ids, completion ids) of one completion each for `prompts`, which may be empty on one rank.

    The random numbers follow from (seed, `name`, rank), where the name is the round's number and that of its refill, so
    an interrupted run draws the same completions again.
    """
    unique, draws = group_copies(prompts)
    prompt_ids = prompt_tokens(unique, draws, trainer) if unique else []
    return [ids for ids in prompt_ids for _ in range(draws)], complete(prompt_ids, draws, trainer, name, observer)


def prompt_tokens(prompts: list[Any], draws: int, trainer: GrpoTrainer) -> list[list[int]]:
    """Token ids of prompts, each of which is drawn for `draws` times; where there are tools, as TRL renders them: with
    the tools, in its training template.
    """
    if trainer.tools:  # with environments it renders the whole batch: which tools it tells of depends on the place
        copies = 1 if trainer.environment_factories is None else draws
        ids: list[list[int]] = trainer._tokenize_prompts([each for each in prompts for _ in range(copies)])[0]
        return ids[::copies]
    return rendered_prompts(prompts, trainer.processing_class)


def next_turn(prompt_ids: list[list[int]], trainer: GrpoTrainer) -> list[list[int]]:
    """Draw what follows the answers of tools, one completion for each of `prompt_ids` (prompt, turns and answers)."""
    trainer.turns += 1
    return complete(prompt_ids, 1, trainer, f"{rounds_begun(trainer)}:turn{trainer.turns}")


def complete(
    prompt_ids: list[list[int]], draws: int, trainer: GrpoTrainer, name: str, observer: Observe | None = None
) -> list[list[int]]:
    """Draw `draws` completions of each prompt with the random numbers of `name` on this rank."""
    gathers = trainer.args.ds3_gather_for_generation
    with unwrap_model_for_generation(
        trainer.model_wrapped, trainer.accelerator, gather_deepspeed3_params=gathers
    ) as model:
        if trainer.packed is None and prompt_ids and packs(trainer):
            trainer.packed = PackedLinears(model)
        with trainer.packed.in_use() if trainer.packed else nullcontext():
            return decode(model, prompt_ids, draws, trainer, name, trainer.on_rows_done, observer)


def decode_copies(
    model: Any,
    prompt_ids: list[list[int]],
    trainer: GrpoTrainer,
    name: str,
    on_rows_done: Callable[[int], None],
    observe: Observe,
) -> list[list[int]]:
    """Draw a completion of each prompt, copies of which stand together, as `draw` would, from any whole model."""
    unique, draws = group_copies(prompt_ids)
    with packed_linears(model) if packs(trainer) else nullcontext():
        return decode(model, unique, draws, trainer, name, on_rows_done, observe)


def packs(trainer: GrpoTrainer) -> bool:
    """Whether rollouts multiply with packed weights."""
    return trainer.fast_paths and why_not_packed(trainer) is None


def decode(
    model: Any,
    prompt_ids: list[list[int]],
    draws: int,
    trainer: GrpoTrainer,
    name: str,
    on_rows_done: Callable[[int], None],
    observe: Observe | None,
) -> list[list[int]]:
    """Draw `draws` completions of each prompt from `model` as the trainer's arguments say."""
    args = trainer.args
    sampling = Sampling(args.max_completion_length, args.temperature, args.top_p)
    seed = derived_seed(args.seed, f"rollout:{name}:{trainer.accelerator.process_index}")
    eos = eos_ids(model, trainer.processing_class)
    with trainer.accelerator.autocast():
        return generate(model, prompt_ids, draws, sampling, eos, seed, ROLLOUT_ROWS, on_rows_done, observe=observe)


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
