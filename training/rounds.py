"""How rollout rounds, optimizer steps and micro-steps of a GRPO trainer count each other.

A round feeds whole optimizer steps: the config's rules make its size a multiple of the batch's.
"""

from trl import GRPOTrainer


def micro_steps_per_round(trainer: GRPOTrainer) -> int:
    """Forward and backward passes that one rollout round feeds."""
    return int(trainer.args.steps_per_generation * trainer.num_iterations)


def steps_per_round(trainer: GRPOTrainer) -> int:
    """Optimizer steps that one rollout round feeds."""
    return micro_steps_per_round(trainer) // int(trainer.args.gradient_accumulation_steps)


def rounds_begun(trainer: GRPOTrainer) -> int:
    """Rollout rounds generated before the one of the present micro-step."""
    return trainer._step // micro_steps_per_round(trainer)


def mid_round(trainer: GRPOTrainer) -> bool:
    """Whether the present micro-step trains on a round that was drawn before."""
    return bool(trainer._step % micro_steps_per_round(trainer))
