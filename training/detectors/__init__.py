"""The detectors of sick runs by name; `training.config.health` has their limits, `training.health` asks them."""

from training.detectors import (
    chosen_falling,
    duplicates,
    entropy_floor,
    format_without_accuracy,
    gradient_spike,
    held_out_kl,
    held_out_loss,
    kl_jump,
    length_bias,
    length_drift,
    not_finite,
    reward_errors,
    silent_groups,
    truncation,
)
from training.detectors.detector import Detector, Finding, History, Samples

DETECTORS: dict[str, Detector] = {
    "not_finite": not_finite.DETECTOR,
    "gradient_spike": gradient_spike.DETECTOR,
    "held_out_loss": held_out_loss.DETECTOR,
    "held_out_kl": held_out_kl.DETECTOR,
    "chosen_falling": chosen_falling.DETECTOR,
    "length_bias": length_bias.DETECTOR,
    "silent_groups": silent_groups.DETECTOR,
    "truncation": truncation.DETECTOR,
    "entropy_floor": entropy_floor.DETECTOR,
    "kl_jump": kl_jump.DETECTOR,
    "length_drift": length_drift.DETECTOR,
    "duplicates": duplicates.DETECTOR,
    "format_without_accuracy": format_without_accuracy.DETECTOR,
    "reward_errors": reward_errors.DETECTOR,
}

__all__ = ["DETECTORS", "Detector", "Finding", "History", "Samples"]
