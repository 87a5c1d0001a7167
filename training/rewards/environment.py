"""Reward `environment`: what the stage's environment says of its own state when the completion has ended.

It is TRL's `get_reward` with a weight, a version and a place in samples.jsonl like any other reward.
"""

from typing import Any

from training.rewards.environment_state import EnvironmentState


def environment(
    completions: list[str], prompts: list[str], environments: list[EnvironmentState], **columns: Any
) -> list[float | None]:
    """Return `get_reward()` of each completion's environment; None where it says None."""
    return [each.get_reward() for each in environments]
