"""Our metrics under the names that verl's trainer logs, so that a dashboard made for verl shows a run of ours.

Only what means the same is named; what verl counts per GPU is divided by the ranks. Read in verl's metric_utils.py and
ray_trainer.py (2026).
"""

from typing import Any

NAMES = {
    "reward": ("critic/score/mean", "critic/rewards/mean"),
    "completions/mean_length": ("response_length/mean",),
    "completions/min_length": ("response_length/min",),
    "completions/max_length": ("response_length/max",),
    "completions/clipped_ratio": ("response_length/clip_ratio",),
    "loss": ("actor/loss",),
    "entropy": ("actor/entropy",),
    "grad_norm": ("actor/grad_norm",),
    "learning_rate": ("actor/lr",),
    "kl": ("actor/kl_loss",),
    "clip_ratio/region_mean": ("actor/pg_clipfrac",),
    "timing_s/generate": ("timing_s/gen",),
    "timing_s/old_logprobs": ("timing_s/old_log_prob",),
    "timing_s/ref_logprobs": ("timing_s/ref",),
    "timing_s/weight_sync": ("timing_s/update_weights",),
    "timing_s/checkpoint": ("timing_s/save_checkpoint",),
    "timing_s/evaluate": ("timing_s/testing",),
    "timing_s/step": ("perf/time_per_step",),
    "perf/mfu": ("perf/mfu/actor",),
    "epoch": ("training/epoch",),
}
"""Our name -> verl's names of the same number. `timing_s/step` and `timing_s/reward` are called alike in both."""

UPDATE = ("timing_s/forward_backward", "timing_s/optimizer")
"""What verl times together as `timing_s/update_actor`."""


def verl_aliases(metrics: dict[str, Any], step: int, processes: int) -> dict[str, Any]:
    """The step's metrics under verl's names; those without a value are left out. `processes` is the number of ranks."""
    known = {name: value for name, value in metrics.items() if value is not None}
    aliases: dict[str, Any] = {"training/global_step": step}
    for ours, theirs in NAMES.items():
        aliases |= {name: known[ours] for name in theirs if ours in known}
    if all(name in known for name in UPDATE):
        aliases["timing_s/update_actor"] = sum(known[name] for name in UPDATE)
    if "perf/tokens_per_s" in known:
        aliases["perf/throughput"] = known["perf/tokens_per_s"] / processes
    for name, value in known.items():
        if name.startswith("probe/") and name.endswith("/accuracy"):
            aliases[f"val-core/{name.removeprefix('probe/').removesuffix('/accuracy')}/acc/mean@1"] = value
    return aliases
