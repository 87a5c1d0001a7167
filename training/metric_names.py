"""The name, unit and meaning of every metric a run writes: the one list behind docs/metrics.md and the report's labels.

A `*` in a name stands for a reward's or a phase's name. `python -m training.metric_names` prints docs/metrics.md.
"""

import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase

TRAINING = ("pretrain", "sft", "dpo", "grpo", "reward_model")
_LIKELIHOOD = ("pretrain", "sft")


@dataclass(frozen=True)
class Metric:
    """One metric: a short title for charts, its unit, what it means, and the kinds of stage that write it."""

    title: str
    unit: str
    meaning: str
    kinds: tuple[str, ...] = TRAINING


METRICS: dict[str, Metric] = {
    "step": Metric("Optimizer step", "steps", "The optimizer step this line describes, counted from 1."),
    "round": Metric("Rollout round", "rounds", "The rollout round whose completions the step trained on.", ("grpo",)),
    "time": Metric("Time", "Unix seconds", "When the step ended."),
    "epoch": Metric("Epoch", "passes", "How often the training rows have been gone through, as a fraction."),
    "loss": Metric(
        "Loss",
        "nats",
        "What the optimizer lowers. Pretraining and SFT: mean negative log-likelihood of a trained token. DPO: the "
        "preference loss of a pair. Reward model: minus the log-probability that the chosen answer is the better. "
        "GRPO: the policy objective, near 0 by construction; read the reward instead.",
    ),
    "experts/max_violation": Metric(
        "Greatest expert load",
        "share of the mean",
        "Mixture of experts: tokens of the busiest expert over the mean, less 1, averaged over layers; 0 is even.",
        _LIKELIHOOD,
    ),
    "experts/dead_experts": Metric(
        "Experts without a token", "experts", "Experts that no token of the step went to, over all layers.", _LIKELIHOOD
    ),
    "experts/layer_*/max_violation": Metric("", "share of the mean", "The same of one layer.", _LIKELIHOOD),
    "experts/layer_*/min_load": Metric(
        "", "share of the mean", "Tokens of a layer's least used expert over the mean.", _LIKELIHOOD
    ),
    "experts/layer_*/entropy": Metric(
        "", "share of the maximum", "Entropy of a layer's shares of tokens over its maximum; 1 is even.", _LIKELIHOOD
    ),
    "experts/layer_*/dead_experts": Metric("", "experts", "Experts of a layer that no token went to.", _LIKELIHOOD),
    "eval_loss": Metric(
        "Held-out loss",
        "nats",
        "`loss` on the rows that `data.validation` holds out, the mean over micro-batches; in steps that measure it.",
        ("pretrain", "sft", "dpo", "reward_model"),
    ),
    "eval_kl_from_start": Metric(
        "KL from the start model",
        "nats",
        "KL of the model that the stage started from to the present one, a token of held-out rows (health.md).",
        ("pretrain", "sft", "dpo"),
    ),
    "eval_*": Metric(
        "On held-out rows",
        "as trained",
        "Any other metric on the held-out rows.",
        ("pretrain", "sft", "dpo", "reward_model"),
    ),
    "learning_rate": Metric("Learning rate", "", "The learning rate of the step, after warm-up and decay."),
    "grad_norm": Metric("Gradient norm", "L2 norm", "Norm of the gradient over all parameters before clipping."),
    "entropy": Metric(
        "Entropy",
        "nats",
        "Mean entropy of the model's next-token distribution on trained positions.",
        ("pretrain", "sft", "dpo", "grpo"),
    ),
    "num_tokens": Metric("Tokens seen", "tokens", "Tokens the trainer has gone through since the stage began."),
    "mean_token_accuracy": Metric(
        "Token accuracy", "share", "Share of trained tokens the model would have put first.", ("pretrain", "sft", "dpo")
    ),
    "aux_loss": Metric("Router loss", "", "Load-balancing loss of a mixture-of-experts model."),
    "rewards/chosen": Metric(
        "Implicit reward",
        "beta x nats",
        "DPO's implicit reward of the chosen answers: beta times the log ratio.",
        ("dpo",),
    ),
    "rewards/rejected": Metric("Implicit reward", "beta x nats", "The same for the rejected answers.", ("dpo",)),
    "rewards/margins": Metric("Reward margin", "beta x nats", "Chosen less rejected implicit reward.", ("dpo",)),
    "rewards/accuracies": Metric(
        "Preference accuracy", "share", "Share of pairs whose chosen answer has the higher implicit reward.", ("dpo",)
    ),
    "rewards/length_correlation": Metric(
        "Margin against length",
        "rank correlation",
        "Spearman's coefficient of margin and difference in length over the step's pairs; with at least 4 of them.",
        ("dpo",),
    ),
    "logps/chosen": Metric(
        "Log-probability",
        "nats",
        "Summed log-probability of the chosen answers; falling with the rejected is common.",
        ("dpo",),
    ),
    "logps/rejected": Metric("Log-probability", "nats", "Summed log-probability of the rejected answers.", ("dpo",)),
    "logits/chosen": Metric("Mean logit", "", "Mean logit over the chosen answers' positions.", ("dpo",)),
    "logits/rejected": Metric("Mean logit", "", "Mean logit over the rejected answers' positions.", ("dpo",)),
    "accuracy": Metric(
        "Pair accuracy", "share", "Share of pairs whose chosen answer has the higher score.", ("reward_model",)
    ),
    "margin": Metric(
        "Score margin", "log-odds", "Score of the chosen answer less the rejected one's.", ("reward_model",)
    ),
    "mean_reward": Metric("Score", "log-odds", "Mean score of all answers, chosen and rejected.", ("reward_model",)),
    "min_reward": Metric("Lowest score", "log-odds", "Lowest score of an answer.", ("reward_model",)),
    "max_reward": Metric("Highest score", "log-odds", "Highest score of an answer.", ("reward_model",)),
    "reward": Metric(
        "Reward", "weighted sum", "Mean total reward of the completions (weighted sum of the rewards).", ("grpo",)
    ),
    "reward/error_rate": Metric(
        "Unscorable completions",
        "share",
        "Share of completions so far for which a reward raised an exception.",
        ("grpo",),
    ),
    "groups/without_signal": Metric(
        "Groups without signal", "share", "Share of groups in which no reward named by `signal` differs.", ("grpo",)
    ),
    "groups/without_signal_drawn": Metric(
        "Groups drawn without signal",
        "share",
        "The same before dynamic sampling replaced any: how hard the data is for the policy.",
        ("grpo",),
    ),
    "groups/reward_drawn": Metric(
        "Reward as drawn",
        "weighted sum",
        "Mean total reward before dynamic sampling replaced any group: `reward` is of what is trained on, a choice.",
        ("grpo",),
    ),
    "groups/drawn": Metric(
        "Groups drawn", "groups", "Groups drawn for the round, those of refills included.", ("grpo",)
    ),
    "groups/replaced": Metric(
        "Groups replaced", "groups", "Groups without signal in whose place one with signal was drawn.", ("grpo",)
    ),
    "reward/*": Metric("Reward by name", "reward", "Mean of one reward, before its weight.", ("grpo",)),
    "rewards/*/std": Metric("Spread of a reward", "reward", "Standard deviation of one reward.", ("grpo",)),
    "reward_std": Metric(
        "Reward spread",
        "reward",
        "Standard deviation of the total reward; 0 leaves GRPO nothing to learn from.",
        ("grpo",),
    ),
    "frac_reward_zero_std": Metric(
        "Groups of equal reward",
        "share",
        "Share of groups whose completions all have the same reward: advantage 0.",
        ("grpo",),
    ),
    "completions/mean_length": Metric("Completion length", "tokens", "Mean length of the completions.", ("grpo",)),
    "completions/min_length": Metric("Shortest completion", "tokens", "Length of the shortest completion.", ("grpo",)),
    "completions/max_length": Metric("Longest completion", "tokens", "Length of the longest completion.", ("grpo",)),
    "completions/clipped_ratio": Metric(
        "Cut-off completions", "share", "Share of completions that reached the length limit without ending.", ("grpo",)
    ),
    "completions/mean_terminated_length": Metric(
        "Length when ended", "tokens", "Mean length of the completions that ended by themselves.", ("grpo",)
    ),
    "completions/min_terminated_length": Metric("", "tokens", "Shortest of the completions that ended.", ("grpo",)),
    "completions/max_terminated_length": Metric("", "tokens", "Longest of the completions that ended.", ("grpo",)),
    "completions/duplicate_share": Metric(
        "Repeated completions",
        "share",
        "Of all but the first completion of each prompt, the share that repeats an earlier one word for word.",
        ("grpo",),
    ),
    "tools/call_frequency": Metric(
        "Calls of tools", "calls", "Calls of tools a completion; only with tools (docs/tools.md).", ("grpo",)
    ),
    "tools/failure_frequency": Metric(
        "Failed calls", "share", "Share of the calls of tools that failed: no such tool, or an exception.", ("grpo",)
    ),
    "kl": Metric(
        "KL to the reference", "nats", "Mean KL estimate a token to the reference model; only with beta > 0.", ("grpo",)
    ),
    "clip_ratio/*": Metric(
        "Clipped ratios", "share", "Share of tokens whose probability ratio was clipped.", ("grpo",)
    ),
    "cispo_clip_ratio": Metric("Clipped ratios", "share", "The same for the CISPO loss.", ("grpo",)),
    "vespo/*": Metric("VESPO weight", "", "Mean sequence weight of the VESPO loss.", ("grpo",)),
    "policy_loss": Metric("Policy loss", "nats", "The loss without the terms that are reported apart.", ("grpo",)),
    "entropy_coef": Metric(
        "Entropy coefficient", "", "The present weight of the entropy bonus, when it adapts.", ("grpo",)
    ),
    "sampling/kl": Metric(
        "Policy against sampler",
        "nats",
        "KL of the sampler to the policy that trains on what it drew, estimated per token; only with "
        "one_step_off_policy.",
        ("grpo",),
    ),
    "sampling/*": Metric(
        "Sampler against trainer",
        "nats or ratio",
        "How far the sampler's log-probabilities are from the trainer's.",
        ("grpo",),
    ),
    "tools/*": Metric(
        "Tool calls", "per completion", "How often tools were called, and how often they failed.", ("grpo",)
    ),
    "step_time": Metric(
        "TRL's step time", "s", "TRL's own timing: without optimizer, data, logging, saving.", ("grpo",)
    ),
    "health/alarms": Metric("Alarms", "detectors", "How many detectors are in alarm (health.md)."),
    "probe/*/accuracy": Metric(
        "Accuracy on held-out questions",
        "share",
        "Of the suite's probe, greedy, judged as evaluations are (health.md).",
    ),
    "probe/*/ci95_low": Metric("", "share", "Lower end of its 95 % Wilson interval."),
    "probe/*/ci95_high": Metric("", "share", "Upper end of its 95 % Wilson interval."),
    "parity/mean_kl": Metric(
        "Sampler against trainer",
        "nats",
        "KL of the sampler to the trainer on the same tokens, estimated per token (health.md).",
        ("grpo",),
    ),
    "parity/max_abs_logp_diff": Metric(
        "Sampler against trainer, worst token",
        "nats",
        "Greatest difference of a token's log-probability between sampler and trainer.",
        ("grpo",),
    ),
    "timing_s/step": Metric("Step time", "s", "Wall time from one optimizer step's end to the next, mean over ranks."),
    "timing_s/data": Metric("data", "s", "Waiting for and collating the next rows."),
    "timing_s/generate": Metric("generate", "s", "Drawing completions.", ("grpo", "sample", "evaluate")),
    "timing_s/reward": Metric("reward", "s", "Scoring completions.", ("grpo", "sample", "evaluate")),
    "timing_s/old_logprobs": Metric(
        "old_logprobs", "s", "Log-probabilities under the policy that drew them.", ("grpo",)
    ),
    "timing_s/ref_logprobs": Metric("ref_logprobs", "s", "Log-probabilities under the reference.", ("dpo", "grpo")),
    "timing_s/forward_backward": Metric("forward_backward", "s", "Forward and backward passes of the trained model."),
    "timing_s/optimizer": Metric(
        "optimizer", "s", "Gradient clipping and the optimizer; under DeepSpeed its engine's step."
    ),
    "timing_s/weight_sync": Metric(
        "weight_sync", "s", "Sending weights to the generator, or gathering them for it.", ("grpo",)
    ),
    "timing_s/checkpoint": Metric(
        "checkpoint", "s", "Saving the step before; what follows the last step stands in the record (resume.md)."
    ),
    "timing_s/evaluate": Metric("evaluate", "s", "The loss on held-out rows (the trainer's own evaluation)."),
    "timing_s/log": Metric("log", "s", "Logging."),
    "timing_s/unaccounted": Metric(
        "unaccounted", "s", "What no phase claims: step less the phases; under 3 % is kept."
    ),
    "timing_s_min/*": Metric(
        "Fastest rank", "s", "The same phase on the rank that spent least; with several ranks only."
    ),
    "timing_s_max/*": Metric(
        "Slowest rank", "s", "The same phase on the rank that spent most; with several ranks only."
    ),
    "overlap_s/generate": Metric(
        "Drawing hidden",
        "s",
        "Drawing that went on while the main thread did not wait for it, on the rank with most of it; with "
        "one_step_off_policy.",
        ("grpo",),
    ),
    "overlap_s/*": Metric("Beside the main thread", "s", "Work done beside the main thread; not part of the sum."),
    "rank/slowest": Metric(
        "Slowest rank",
        "rank",
        "The rank with the most work of its own in this step (fetching rows, forward passes, scoring); with several "
        "ranks only.",
    ),
    "rank/imbalance": Metric(
        "Imbalance",
        "share",
        "By how much the slowest rank's own work is above the mean of all; with several ranks only.",
    ),
    "perf/tokens_per_s": Metric("Throughput", "tokens/s", "Unpadded tokens trained on per second, over all ranks."),
    "perf/samples_per_s": Metric("Throughput", "rows/s", "Rows trained on per second, over all ranks."),
    "perf/scored_per_s": Metric(
        "Scoring",
        "completions/s",
        "Completions scored per second of scoring so far, over all ranks; in steps that begin a rollout round.",
        ("grpo",),
    ),
    "perf/padding_share": Metric(
        "Padding", "share", "Share of the positions of the step's micro-batches that are padding; 0 with packing."
    ),
    "perf/mfu": Metric(
        "Arithmetic used", "share", "Model FLOP/s over the FLOP/s measured on this machine at the start."
    ),
    "perf/peak_memory_gb": Metric("Peak memory", "GB", "Highest memory so far, summed over ranks."),
}

HEADER = """# Metrics

Generated by `python -m training.metric_names`; change `METRICS` there.

Every training stage writes one flat JSON object per optimizer step to `<stage folder>/metrics.jsonl`, and the tracker
mirrors it. `timing_s/*` are seconds of the main thread: the phases do not overlap, and with `unaccounted` they sum to
`timing_s/step`. A `*` stands for the name of a reward or a phase. Metrics that TRL writes keep TRL's names, except that
`rewards/NAME/mean` of its GRPO trainer is called `reward/NAME`, since `rewards/chosen` means something else in DPO.

| Metric | Unit | Written by | Meaning |
|---|---|---|---|
"""


def describe(name: str) -> Metric | None:
    """The metric of that name, by exact name first and then by pattern; None when it is not listed."""
    if name in METRICS:
        return METRICS[name]
    return next((metric for pattern, metric in METRICS.items() if "*" in pattern and fnmatchcase(name, pattern)), None)


def render_markdown() -> str:
    """The text of docs/metrics.md."""
    rows = [
        f"| `{name}` | {metric.unit or '-'} | {', '.join(metric.kinds)} | {metric.meaning} |"
        for name, metric in METRICS.items()
    ]
    return HEADER + "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.stdout.write(render_markdown())
